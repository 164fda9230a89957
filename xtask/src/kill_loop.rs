//! `cargo xtask kill-loop`: flights, killed again and again, still ends with the exact table.
//!
//! Each round has directories and a failure seed of its own: start, SIGKILL at a random moment, start again, several times;
//! then a run to the end. The table must be exact and the audit of all its processes must show no row missing and no key
//! out of order. The seed fixes the moments and the injected failures; what the machine does between them stays open.

use crate::audit;
use crate::clock;
use crate::flights::{self, Flights};
use crate::random::Random;
use crate::workspace::Workspace;
use std::path::Path;
use std::time::Duration;

/// Share of handler calls that fail with a transient error.
const FAIL_RATE: &str = "0.05";
/// Kills per round, at least and at most.
const KILLS: (u64, u64) = (3, 6);
/// The part of an undisturbed run within which a kill falls. Less than the whole, since each start continues the work.
const MOMENT_PERCENT: (u64, u64) = (1, 40);

/// Runs the loop from the command line.
///
/// # Errors
/// On a wrong argument, or the first failing round.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let mut count = None;
    let mut seed = None;
    let mut args = args.iter();
    while let Some(name) = args.next() {
        let value = args.next().and_then(|value| value.parse::<u64>().ok());
        let value = value.ok_or_else(|| format!("`{name}` needs a number"))?;
        match name.as_str() {
            "--rounds" => {
                count =
                    Some(u32::try_from(value).map_err(|_| "`--rounds` is too large".to_owned())?)
            }
            "--seed" => seed = Some(value),
            _ => {
                return Err(format!(
                    "unknown argument `{name}`; known are --rounds N and --seed S"
                ));
            }
        }
    }
    let count = count.ok_or("kill-loop needs `--rounds N`")?;
    let workspace = Workspace::load()?;
    let flights = Flights::find(&workspace).ok_or("the workspace has no example `flights` yet")?;
    rounds(&flights, count, seed.unwrap_or_else(clock::fresh_seed))
}

/// Builds the example and runs this many rounds.
///
/// # Errors
/// The first failing round; its directories are kept and named.
pub(crate) fn rounds(flights: &Flights, count: u32, seed: u64) -> Result<(), String> {
    flights.build()?;
    let mut random = Random(seed);
    let usual = undisturbed(flights, random.next())?;
    println!(
        "{count} rounds, --seed {seed}; an undisturbed run takes {} ms",
        usual.as_millis()
    );
    let mut kills = 0;
    for round in 1..=count {
        let directory = flights.fresh_directory(&format!("kill-loop-{round}"))?;
        kills += one_round(flights, &directory, round, usual, &mut random).map_err(|error| {
            format!(
                "round {round} of --seed {seed}: {error}\nits directories are kept in {}",
                directory.display()
            )
        })?;
        remove(&directory)?;
    }
    if kills == 0 {
        return Err("no round had a kill: every run ended before its moment".to_owned());
    }
    println!(
        "{count} rounds, {kills} kills: every table exact, no row missing, every key in order"
    );
    Ok(())
}

/// One run without kills: it must be right too, and its duration scales the moments of the kills.
fn undisturbed(flights: &Flights, seed: u64) -> Result<Duration, String> {
    let directory = flights.fresh_directory("kill-loop-0")?;
    let start = clock::now();
    let table = flights.finish(&directory, &options(&directory, seed))?;
    let took = start.elapsed();
    flights::exact(&table).map_err(|error| format!("without any kill: {error}"))?;
    audit::check_flights(&audit::read(&directory.join("audit"))?)
        .map_err(|error| format!("without any kill: {error}"))?;
    remove(&directory)?;
    Ok(took)
}

fn one_round(
    flights: &Flights,
    directory: &Path,
    round: u32,
    usual: Duration,
    random: &mut Random,
) -> Result<u32, String> {
    let options = options(directory, random.next());
    let mut moments = Vec::new();
    for _ in 0..random.between(KILLS) {
        let moment = usual * u32::try_from(random.between(MOMENT_PERCENT)).unwrap_or(1) / 100;
        let mut child = flights.start(directory, &options)?;
        if flights::ended_within(&mut child, moment)? {
            let status = child
                .wait()
                .map_err(|error| format!("cannot wait for flights: {error}"))?;
            if !status.success() {
                return Err(format!("flights ended by itself with {status}"));
            }
            break;
        }
        flights::kill(&mut child)?;
        moments.push(moment.as_millis().to_string());
    }
    let table = flights.finish(directory, &options)?;
    flights::exact(&table)?;
    let summary = audit::check_flights(&audit::read(&directory.join("audit"))?)?;
    println!(
        "round {round}: killed after {} ms; table exact; {} calls, {} retries, {} records repeated; redelivered {}",
        moments.join(", "),
        summary.calls,
        summary.retries,
        summary.repeated,
        table["redelivered"]
    );
    u32::try_from(moments.len()).map_err(|error| error.to_string())
}

fn options(directory: &Path, seed: u64) -> Vec<String> {
    let audit = directory.join("audit");
    // Seeds are printed and passed on as decimal numbers; 32 bits are plenty.
    let seed = seed >> 32;
    [
        "--audit",
        &audit.to_string_lossy(),
        "--fail-rate",
        FAIL_RATE,
        "--seed",
        &seed.to_string(),
    ]
    .map(str::to_owned)
    .to_vec()
}

fn remove(directory: &Path) -> Result<(), String> {
    std::fs::remove_dir_all(directory)
        .map_err(|error| format!("cannot remove {}: {error}", directory.display()))
}
