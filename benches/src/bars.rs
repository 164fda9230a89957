//! The lines of the report: what is measured, its bar and goal, and what it is compared with.
//!
//! A line is a way to read figures off workloads. The lines asked for, with those they refer to, decide which
//! workloads run: counted ones once (the count is exact), clocked ones in rounds that interleave all of them, so that a slow
//! minute of the machine falls on every line alike. The value is the median over the rounds, and quotients are taken within a round.

mod catalogue;

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::measure::child;
use crate::measure::count::{self, PerMessage};
use crate::measure::median;
use crate::options::Options;
use crate::report::{self, Row};
use crate::workload::{self, Outcome};

pub(crate) use catalogue::lines;

/// Messages of a counted run; it runs with twice as many, too.
const COUNTED: u64 = 5_000;
/// Rounds on the wall clock.
const ROUNDS: usize = 5;
/// Workloads that take minutes or gibibytes, and whose figures are about proportions: one round.
const ONCE: [&str; 3] = ["own.zipf", "log.restart", "log.waiting"];

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code)] // Which of them a build uses depends on its features.
pub(crate) enum Source {
    /// Instructions per message of a workload.
    Instructions(&'static str),
    /// Allocations per message of a workload.
    Allocations(&'static str),
    /// Messages per second of a workload.
    Rate(&'static str),
    /// A figure that a workload reports, by its name.
    Figure(&'static str, &'static str),
    /// The first line minus the second.
    Difference(&'static str, &'static str),
    /// The first line divided by the second.
    Quotient(&'static str, &'static str),
}

/// One line of the report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) source: Source,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// What must be reached.
    pub(crate) bar: Option<f64>,
    /// What is worth reaching.
    pub(crate) goal: Option<f64>,
    /// The line it is compared with, measured in the same run.
    pub(crate) reference: Option<&'static str>,
}

/// Measures what the options ask for and prints the report.
///
/// # Errors
/// An unknown name, or a workload that fails.
pub(crate) fn run(options: &Options) -> Result<ExitCode, String> {
    let lines = lines();
    let chosen = choose(&lines, &options.names)?;
    let figures = measure(&lines, &chosen, options.quick)?;
    let rows: Vec<Row> = chosen
        .iter()
        .map(|line| row(line, &lines, &figures))
        .collect();
    report::print(&rows, options.json)?;
    let missed = rows.iter().any(|row| row.missed == Some(true));
    Ok(if options.enforce && missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The lines with one of these names, or below one: `peer` chooses `peer.json.instructions`.
fn choose<'a>(lines: &'a [Line], names: &[String]) -> Result<Vec<&'a Line>, String> {
    let under = |line: &Line, name: &str| {
        line.name
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    for name in names {
        if !lines.iter().any(|line| under(line, name)) {
            return Err(format!(
                "no line is called `{name}`: `--list` names them all"
            ));
        }
    }
    let wanted = |line: &&Line| names.is_empty() || names.iter().any(|name| under(line, name));
    Ok(lines.iter().filter(wanted).collect())
}

/// All that was measured, by workload.
#[derive(Debug, Default)]
struct Figures {
    counted: BTreeMap<&'static str, PerMessage>,
    clocked: BTreeMap<&'static str, Vec<Outcome>>,
}

fn measure(lines: &[Line], chosen: &[&Line], quick: bool) -> Result<Figures, String> {
    let mut figures = Figures::default();
    let (counted, clocked) = workloads(lines, chosen);
    if !counted.is_empty() {
        if count::available() {
            calibrate()?;
            for name in counted {
                report::progress(&format!("counting {name}"));
                figures
                    .counted
                    .insert(name, count::per_message(name, COUNTED)?);
            }
        } else {
            report::progress(
                "valgrind is not installed: instructions and allocations are left out",
            );
        }
    }
    for round in 1..=if quick { 1 } else { ROUNDS } {
        for name in &clocked {
            if round > 1 && ONCE.contains(name) {
                continue;
            }
            report::progress(&format!("round {round}: {name}"));
            let workload = workload::find(name)?;
            let share = if quick { 10 } else { 1 };
            let outcome = child::run(name, workload.messages / share, workload.warm_up / share)?;
            figures.clocked.entry(name).or_default().push(outcome);
        }
    }
    Ok(figures)
}

/// The method of counting must find the one allocation that is there by construction.
fn calibrate() -> Result<(), String> {
    let found = count::per_message("calibration", COUNTED)?;
    if (found.allocations - 1.0).abs() > 0.001 {
        return Err(format!(
            "counting is broken: {} allocations per message found in a loop that allocates once; \
             is the executable stripped, or built with native target features?",
            found.allocations
        ));
    }
    Ok(())
}

/// Workloads that the chosen lines need, in the order of first need: counted ones, clocked ones.
fn workloads(lines: &[Line], chosen: &[&Line]) -> (Vec<&'static str>, Vec<&'static str>) {
    let (mut counted, mut clocked) = (Vec::new(), Vec::new());
    let mut open: Vec<&str> = chosen.iter().map(|line| line.name).rev().collect();
    let note = |list: &mut Vec<&'static str>, name| {
        if !list.contains(&name) {
            list.push(name);
        }
    };
    while let Some(name) = open.pop() {
        let Some(line) = find(lines, name) else {
            continue;
        };
        open.extend(line.reference);
        match line.source {
            Source::Instructions(workload) | Source::Allocations(workload) => {
                note(&mut counted, workload)
            }
            Source::Rate(workload) | Source::Figure(workload, _) => note(&mut clocked, workload),
            Source::Difference(first, second) | Source::Quotient(first, second) => {
                open.extend([second, first])
            }
        }
    }
    (counted, clocked)
}

fn find<'a>(lines: &'a [Line], name: &str) -> Option<&'a Line> {
    lines.iter().find(|line| line.name == name)
}

/// The values of a line, one per round; empty when it could not be measured.
fn values(line: &Line, lines: &[Line], figures: &Figures) -> Vec<f64> {
    let of = |name: &str| {
        find(lines, name)
            .map(|line| values(line, lines, figures))
            .unwrap_or_default()
    };
    let both = |first: &str, second: &str, join: fn(f64, f64) -> f64| {
        of(first)
            .into_iter()
            .zip(of(second))
            .map(|(left, right)| join(left, right))
            .collect()
    };
    match line.source {
        Source::Instructions(name) => figures
            .counted
            .get(name)
            .map(|counted| counted.instructions)
            .into_iter()
            .collect(),
        Source::Allocations(name) => figures
            .counted
            .get(name)
            .map(|counted| counted.allocations)
            .into_iter()
            .collect(),
        Source::Rate(name) => figures
            .clocked
            .get(name)
            .into_iter()
            .flatten()
            .map(Outcome::rate)
            .collect(),
        Source::Figure(name, figure) => {
            let figure = |outcome: &Outcome| outcome.figures.get(figure).copied();
            figures
                .clocked
                .get(name)
                .into_iter()
                .flatten()
                .filter_map(figure)
                .collect()
        }
        Source::Difference(first, second) => both(first, second, |left, right| left - right),
        Source::Quotient(first, second) => both(first, second, |left, right| left / right),
    }
}

fn row(line: &Line, lines: &[Line], figures: &Figures) -> Row {
    let of = |line: &Line| {
        let values = values(line, lines, figures);
        (!values.is_empty()).then(|| median(&values))
    };
    let value = of(line);
    let reference = line
        .reference
        .and_then(|name| find(lines, name))
        .and_then(of);
    let missed = value.zip(line.bar).map(|(value, bar)| match line.better {
        Better::Lower => value > bar,
        Better::Higher => value < bar,
    });
    Row {
        bench: line.name,
        value,
        unit: line.unit,
        bar: line.bar,
        goal: line.goal,
        reference,
        ratio: value
            .zip(reference)
            .and_then(|(value, reference)| (reference != 0.0).then(|| value / reference)),
        missed,
    }
}

#[cfg(test)]
mod tests {
    use super::{Better, Figures, Line, Source, choose, lines, row, workloads};
    use crate::measure::count::PerMessage;
    use crate::workload;

    fn line(name: &'static str, source: Source) -> Line {
        Line {
            name,
            source,
            unit: "",
            better: Better::Lower,
            bar: None,
            goal: None,
            reference: None,
        }
    }

    #[test]
    fn every_line_reads_a_workload_that_exists() {
        let lines = lines();
        let all: Vec<_> = lines.iter().collect();
        let (counted, clocked) = workloads(&lines, &all);
        for name in counted.into_iter().chain(clocked) {
            assert!(workload::find(name).is_ok(), "no workload `{name}`");
        }
    }

    #[test]
    fn names_choose_themselves_and_what_is_below() {
        let lines = [
            line("a.b", Source::Rate("x")),
            line("a.bc", Source::Rate("y")),
            line("d", Source::Rate("z")),
        ];
        let names = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        let chosen = |words: &[&str]| -> Vec<&str> {
            choose(&lines, &names(words))
                .unwrap()
                .iter()
                .map(|line| line.name)
                .collect()
        };
        assert_eq!(chosen(&["a"]), ["a.b", "a.bc"]);
        assert_eq!(chosen(&["a.b", "d"]), ["a.b", "d"]);
        assert_eq!(chosen(&[]), ["a.b", "a.bc", "d"]);
        assert!(choose(&lines, &names(&["e"])).unwrap_err().contains("`e`"));
    }

    #[test]
    fn a_difference_pulls_its_parts_in_and_a_missed_bar_shows() {
        let mut difference = line("more", Source::Difference("layered", "plain"));
        difference.bar = Some(100.0);
        difference.reference = Some("plain");
        let lines = [
            line("plain", Source::Instructions("p")),
            line("layered", Source::Instructions("l")),
            difference,
        ];
        assert_eq!(workloads(&lines, &[&lines[2]]).0, ["l", "p"]);
        let mut figures = Figures::default();
        figures.counted.insert(
            "p",
            PerMessage {
                instructions: 500.0,
                allocations: 0.0,
            },
        );
        figures.counted.insert(
            "l",
            PerMessage {
                instructions: 650.0,
                allocations: 0.0,
            },
        );
        let row = row(&lines[2], &lines, &figures);
        assert_eq!(
            (row.value, row.ratio, row.missed),
            (Some(150.0), Some(0.3), Some(true))
        );
    }
}
