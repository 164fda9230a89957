//! `compare`: own and bare in turn on the same topics, and a table.
//!
//! Every run is a process and a group of its own. Ratios are taken within a round, then the median over the rounds: a slow minute
//! of the machine falls on both sides alike. Topics that are long enough are used as they are.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::fill::{self, Shape};

/// Which way a bar goes.
#[derive(Clone, Copy, Debug)]
enum Bar {
    /// Messages per second, as a share of the bare loop's.
    Ratio(f64),
    /// Messages per second.
    Rate(f64),
    /// Processor time per message: at most that of the bare loop.
    BareCpu,
    /// Processor time per message in microseconds, besides a ratio.
    RatioAndCpu(f64, f64),
}

/// One comparison.
#[derive(Clone, Copy, Debug)]
struct Cell {
    name: &'static str,
    mode: &'static str,
    topic: &'static str,
    shape: Shape,
    partitions: i32,
    /// Messages, as a share of what is asked for: `(part, of)`.
    share: (u64, u64),
    bar: Bar,
}

const CELLS: [Cell; 5] = [
    Cell {
        name: "w1",
        mode: "w1",
        topic: "dotmsg-bench-100b",
        shape: Shape::Bytes(100),
        partitions: 12,
        share: (1, 1),
        bar: Bar::RatioAndCpu(1.3, 0.5),
    },
    Cell {
        name: "w1-1k",
        mode: "w1",
        topic: "dotmsg-bench-1k",
        shape: Shape::Bytes(1_024),
        partitions: 12,
        share: (1, 4),
        bar: Bar::BareCpu,
    },
    Cell {
        name: "w2",
        mode: "w2",
        topic: "dotmsg-bench-json",
        shape: Shape::Json,
        partitions: 12,
        share: (1, 1),
        bar: Bar::Ratio(1.1),
    },
    Cell {
        name: "w3",
        mode: "w3",
        topic: "dotmsg-bench-slow",
        shape: Shape::Bytes(100),
        partitions: 1,
        share: (1, 8),
        bar: Bar::Rate(45_000.0),
    },
    Cell {
        name: "w4",
        mode: "w4",
        topic: "dotmsg-bench-json",
        shape: Shape::Json,
        partitions: 12,
        share: (1, 1),
        bar: Bar::Ratio(0.8),
    },
];

/// Where `w4` publishes to; gone afterwards.
const OUT: &str = "dotmsg-bench-out";
/// Attempts to make a topic whose predecessor is still being deleted.
const RENEWALS: usize = 50;
/// How busy the machine is.
const LOAD: &str = "/proc/loadavg";

/// What the command line says.
#[derive(Debug)]
struct Options {
    names: Vec<String>,
    messages: u64,
    rounds: usize,
    keep: bool,
}

/// What one run printed.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Measured {
    rate: f64,
    cpu_us: f64,
    rss_mb: f64,
    sum: f64,
}

/// Compares.
///
/// # Errors
/// A wrong argument, a run that fails, sums that differ.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let options = parse(arguments)?;
    let boot = std::env::var("BOOT").map_err(|_| "BOOT is not set: the cluster, as host:port")?;
    let wanted = |cell: &&Cell| {
        options.names.is_empty() || options.names.iter().any(|name| name == cell.name)
    };
    let cells: Vec<&Cell> = CELLS.iter().filter(wanted).collect();
    let compared: Result<String, String> = cells.iter().try_fold(table_head(), |table, cell| {
        prepare(&boot, cell, cell.messages(&options))?;
        Ok(table + &compare(&boot, cell, &options)?)
    });
    if !options.keep {
        // Each once: librdkafka refuses to delete a topic twice in one request, and the binding does not survive that.
        let topics: BTreeSet<&str> = cells.iter().map(|cell| cell.topic).chain([OUT]).collect();
        fill::delete(&boot, &Vec::from_iter(topics))?;
    }
    print(&compared?)
}

fn parse(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options {
        names: Vec::new(),
        messages: 2_000_000,
        rounds: 3,
        keep: false,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut number = |name: &str| -> Result<u64, String> {
            let text = rest
                .next()
                .ok_or_else(|| format!("{name} takes a number"))?;
            text.replace('_', "")
                .parse()
                .map_err(|_| format!("{name} {text} is no number"))
        };
        match &**argument {
            "--n" => options.messages = number("--n")?,
            "--rounds" => options.rounds = usize::try_from(number("--rounds")?.max(1)).unwrap_or(1),
            "--keep" => options.keep = true,
            name if CELLS.iter().any(|cell| cell.name == name) => {
                options.names.push(name.to_owned())
            }
            other => return Err(format!("`{other}` is not understood\n{}", crate::USAGE)),
        }
    }
    Ok(options)
}

impl Cell {
    fn messages(&self, options: &Options) -> u64 {
        (options.messages * self.share.0 / self.share.1).max(1)
    }
}

fn prepare(boot: &str, cell: &Cell, messages: u64) -> Result<(), String> {
    let there = fill::length(boot, cell.topic)?;
    if there >= messages {
        return Ok(());
    }
    if there == 0 {
        // It may be there, and empty.
        let _ = fill::make(boot, cell.topic, cell.partitions);
    }
    progress(&format!(
        "filling {} with {} messages",
        cell.topic,
        messages - there
    ));
    fill::topic(boot, cell.topic, cell.shape, messages - there)
}

fn compare(boot: &str, cell: &Cell, options: &Options) -> Result<String, String> {
    let messages = cell.messages(options);
    let (mut own, mut bare) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let load = std::fs::read_to_string(LOAD).unwrap_or_default();
        progress(&format!(
            "{} round {round}, load average {}",
            cell.name,
            load.trim()
        ));
        // Neither always first: what the one leaves in caches is the other's too.
        for side in [round % 2, (round + 1) % 2] {
            let (list, mode) = match side {
                0 => (&mut own, cell.mode.to_owned()),
                _ => (&mut bare, format!("bare-{}", cell.mode)),
            };
            list.push(child(boot, cell, &mode, messages)?);
        }
    }
    // Part of a topic is not the same part every time.
    if fill::length(boot, cell.topic)? == messages && own[0].sum != bare[0].sum {
        return Err(format!(
            "{}: the sums differ: {} and {}",
            cell.name, own[0].sum, bare[0].sum
        ));
    }
    Ok(row(cell, &own, &bare))
}

/// Runs one side once, and removes the topics that it leaves.
fn child(boot: &str, cell: &Cell, mode: &str, messages: u64) -> Result<Measured, String> {
    let publishes = cell.mode == "w4";
    if publishes {
        renew(boot, OUT, cell.partitions)?;
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let group = format!("bench-{}-{:08x}", cell.name, fastrand::u32(..));
    let done = Command::new(program)
        .arg(mode)
        .envs([("BOOT", boot), ("TOPIC", cell.topic), ("GROUP_ID", &group)])
        .env("N", messages.to_string())
        .env("OUT_TOPIC", if publishes { OUT } else { "" })
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{mode} does not start: {error}"))?;
    let own = ["dlq", "replay"].map(|topic| format!("{}.{group}.{topic}", cell.topic));
    fill::delete(boot, &own.each_ref().map(String::as_str))?;
    let line = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() {
        return Err(format!("{mode} failed ({})", done.status));
    }
    progress(&format!("  {mode}: {}", line.trim()));
    serde_json::from_str(&line).map_err(|error| format!("{mode} printed no line: {error}"))
}

/// Makes an empty topic in the place of the one that may be there. The cluster deletes when it finds the time.
fn renew(boot: &str, topic: &str, partitions: i32) -> Result<(), String> {
    fill::delete(boot, &[topic])?;
    let mut made = fill::make(boot, topic, partitions);
    for _ in 0..RENEWALS {
        if made.is_ok() {
            break;
        }
        made = fill::make(boot, topic, partitions);
    }
    made
}

fn table_head() -> String {
    "| | dotmsg msg/s | bare msg/s | ratio | CPU µs: dotmsg | bare | RSS MB: dotmsg | bare | bar | |\n\
     |---|--:|--:|--:|--:|--:|--:|--:|---|---|\n"
        .to_owned()
}

fn row(cell: &Cell, own: &[Measured], bare: &[Measured]) -> String {
    let of = |side: &[Measured], value: fn(&Measured) -> f64| median(side.iter().map(value));
    let (own_rate, bare_rate) = (of(own, |one| one.rate), of(bare, |one| one.rate));
    let (own_cpu, bare_cpu) = (of(own, |one| one.cpu_us), of(bare, |one| one.cpu_us));
    let ratio = median(own.iter().zip(bare).map(|(own, bare)| own.rate / bare.rate));
    let (bar, met) = match cell.bar {
        Bar::Ratio(least) => (format!("≥ {least} ×"), ratio >= least),
        Bar::Rate(least) => (format!("≥ {least:.0}/s"), own_rate >= least),
        Bar::BareCpu => ("CPU ≤ bare".to_owned(), own_cpu <= bare_cpu),
        Bar::RatioAndCpu(least, most) => {
            let met = ratio >= least && own_cpu <= most;
            (format!("≥ {least} ×, CPU ≤ {most}"), met)
        }
    };
    format!(
        "| `{}` | {own_rate:.0} | {bare_rate:.0} | {ratio:.2} | {own_cpu:.2} | {bare_cpu:.2} | {:.0} | {:.0} | {bar} | {} |\n",
        cell.name,
        of(own, |one| one.rss_mb),
        of(bare, |one| one.rss_mb),
        if met { "met" } else { "missed" },
    )
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn progress(step: &str) {
    // The table is worth more than its progress lines.
    let _ = writeln!(std::io::stderr(), "{step}");
}

fn print(text: &str) -> Result<(), String> {
    write!(std::io::stdout(), "{text}").map_err(|error| format!("cannot print: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{CELLS, Measured, parse, row};

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_command_line_names_cells_and_numbers() {
        let options = parse(&words("w4 --n 3_000 w1 --rounds 5 --keep")).unwrap();
        assert_eq!(options.names, ["w4", "w1"]);
        assert_eq!(
            (options.messages, options.rounds, options.keep),
            (3_000, 5, true)
        );
        assert!(parse(&words("w9")).unwrap_err().contains("`w9`"));
        assert!(parse(&words("--n")).is_err());
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        let run = |rate| Measured {
            rate,
            cpu_us: 0.4,
            rss_mb: 1.0,
            sum: 0.0,
        };
        let (own, bare) = (
            [run(2.0), run(8.0), run(30.0)],
            [run(1.0), run(2.0), run(3.0)],
        );
        let row = row(&CELLS[0], &own, &bare);
        assert!(
            row.contains("| 8 | 2 | 4.00 |") && row.ends_with("met |\n"),
            "{row}"
        );
    }
}
