//! `cargo xtask faults kafka`: flights as several processes on three brokers, while members and brokers are killed, frozen
//! and restarted, and the lines between them cut, slowed and silenced.
//!
//! Each round has topics, notes and a directory of its own: one process publishes, [`draw::MEMBERS`] handle as one group, and
//! what is done to them is drawn from the seed. Then they are left alone until all is settled. Every table must be exact, and
//! the audit of all processes must show no row missing and no key out of order.
//!
//! The seed fixes what is done and when; what machine and brokers do between stays open. The directory of a failing round is
//! kept: the audit, the notes, and what every process said.

mod bars;
mod draw;
mod lines;
mod members;
mod probe;
mod process;
mod unclean;

use crate::audit::{self, Summary};
use crate::clock;
use crate::flights::{self, Flights};
use crate::services::Cluster;
use crate::workspace::Workspace;
pub(crate) use draw::ROUNDS_OF_ALL;
use draw::{Fault, Protocol, Round};
use lines::Lines;
use members::Members;
use std::path::Path;
use std::time::Duration;

/// Share of handler calls that fail with a transient error.
const FAIL_RATE: &str = "0.05";
/// Handlers at once in each member: so many that a call's own time, and not that of its publish, decides how long a round lasts.
const CONCURRENCY: u64 = 64;
/// How long the work of three undisturbed members should last at least, for each fault. A fault after the end is none.
const WORK_PER_FAULT_MS: u64 = 4_000;
/// How long the members may take to join and to begin. Measured are three seconds, on two cores.
const BEGINNING: Duration = Duration::from_secs(60);
/// How long the rest may take once everything is left alone. Measured are seconds, and minutes where others use the machine too.
const DEADLINE: Duration = Duration::from_secs(300);

/// Runs the campaign from the command line.
///
/// # Errors
/// On a wrong argument, or the first failing round.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let (backend, rest) = args.split_first().ok_or("faults needs a backend: kafka")?;
    if backend != "kafka" {
        return Err(format!("no faults for `{backend}`; there are: kafka"));
    }
    let workspace = Workspace::load()?;
    match rest {
        [only] if only == "--bars" => return bars::run(&workspace),
        [only] if only == "--unclean" => return unclean::run(&workspace),
        _ => {}
    }
    let mut numbers = [("--rounds", None), ("--seed", None), ("--only", None)];
    for pair in rest.chunks(2) {
        let number = numbers.iter_mut().find(|(name, _)| *name == pair[0]);
        let (name, number) = number.ok_or_else(|| {
            format!(
                "unknown argument `{}`; known are --rounds N, --seed S, --only R; --bars or --unclean alone",
                pair[0]
            )
        })?;
        let value = pair.get(1).and_then(|value| value.parse::<u64>().ok());
        *number = Some(value.ok_or_else(|| format!("`{name}` needs a number"))?);
    }
    let [(_, count), (_, seed), (_, only)] = numbers;
    let count = count.or(only).ok_or("faults needs `--rounds N`")?;
    if let Some(only) = only.filter(|only| !(1..=count).contains(only)) {
        return Err(format!("there is no round {only} among {count}"));
    }
    let count = u32::try_from(count).map_err(|_| "`--rounds` is too large".to_owned())?;
    let flights = Flights::find(&workspace).ok_or("the workspace has no example `flights` yet")?;
    let seed = seed.unwrap_or_else(clock::fresh_seed);
    rounds(&workspace, &flights, (count, seed), only)
}

/// Builds the example, brings the cluster up and runs these rounds of the seed, or one of them alone.
///
/// # Errors
/// The first failing round; its directory is kept and named.
pub(crate) fn rounds(
    workspace: &Workspace,
    flights: &Flights,
    (count, seed): (u32, u64),
    only: Option<u64>,
) -> Result<(), String> {
    flights.build_for_kafka()?;
    let cluster = Cluster::take(workspace)?;
    let mut lines = Lines::start(&workspace.target, &cluster)?;
    println!("{count} rounds, --seed {seed}");
    let mut total = Total::default();
    for (number, round) in (1..=count).zip(draw::rounds(seed)) {
        if only.is_some_and(|only| only != u64::from(number)) {
            continue;
        }
        let directory = flights.fresh_directory(&format!("faults-{number}"))?;
        let failed = |error: String| {
            format!(
                "round {number} of --seed {seed} ({}): {error}\nits directory is kept: {}",
                said(&round),
                directory.display()
            )
        };
        let mut campaign = Campaign {
            flights,
            cluster: &cluster,
            lines: &mut lines,
            directory: &directory,
            prefix: format!("faults-{seed}-{number}-{}.", std::process::id()),
        };
        let result = campaign.round(&round).map_err(&failed)?;
        println!("round {number}: {}; {result}", said(&round));
        total.add(&round, &result);
        cluster.delete_topics(&campaign.prefix).map_err(&failed)?;
        std::fs::remove_dir_all(&directory)
            .map_err(|error| format!("cannot remove {}: {error}", directory.display()))?;
    }
    if only.is_none() && count >= draw::ROUNDS_OF_ALL && total.kinds.len() < draw::KINDS.len() {
        return Err(format!(
            "only these happened before all was done: {:?}",
            total.kinds
        ));
    }
    println!("{total}: every table exact, no row missing, every key in order");
    Ok(())
}

/// What is done in a round, for its line.
fn said(round: &Round) -> String {
    let faults: Vec<String> = round
        .faults
        .iter()
        .map(|(_, fault)| fault.to_string())
        .collect();
    let publisher = match round.publisher.by_kill {
        true => "killed",
        false => "frozen",
    };
    format!(
        "{}{}, session {} ms, publisher {publisher}, {}",
        round.protocol,
        if round.is_static { ", static" } else { "" },
        round.session_timeout_ms,
        faults.join(", ")
    )
}

/// What one round runs on.
struct Campaign<'c> {
    flights: &'c Flights,
    cluster: &'c Cluster<'c>,
    lines: &'c mut Lines,
    directory: &'c Path,
    prefix: String,
}

/// How a round ended well.
struct Outcome {
    audit: Summary,
    /// Faults that came while there was work.
    in_time: usize,
    /// Calls of a key that began before another owner's call of it had ended.
    two_owners: usize,
    ends: Vec<String>,
    /// Until the last fault was over, and until all was settled.
    took: [Duration; 2],
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [faults, all] = self.took.map(|took| took.as_secs_f64());
        write!(
            f,
            "table exact; {} calls, {} retries, {} records repeated, {} calls under two owners; {} faults in time, over after \
             {faults:.0} s; {} ended by themselves; {all:.0} s",
            self.audit.calls,
            self.audit.retries,
            self.audit.repeated,
            self.two_owners,
            self.in_time,
            self.ends.len()
        )?;
        for end in &self.ends {
            write!(f, "\n    {end}")?;
        }
        Ok(())
    }
}

/// What all rounds did.
#[derive(Default)]
struct Total {
    rounds: usize,
    faults: usize,
    kinds: std::collections::BTreeSet<draw::Kind>,
    calls: usize,
    repeated: usize,
    two_owners: usize,
    ends: usize,
}

impl Total {
    fn add(&mut self, round: &Round, outcome: &Outcome) {
        self.rounds += 1;
        self.faults += outcome.in_time;
        let in_time = &round.faults[..outcome.in_time];
        self.kinds
            .extend(in_time.iter().map(|(_, fault)| fault.kind()));
        self.calls += outcome.audit.calls;
        self.repeated += outcome.audit.repeated;
        self.two_owners += outcome.two_owners;
        self.ends += outcome.ends.len();
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} rounds, {} faults of {} kinds, {} calls, {} records repeated, {} calls under two owners, {} processes ended by \
             themselves",
            self.rounds,
            self.faults,
            self.kinds.len(),
            self.calls,
            self.repeated,
            self.two_owners,
            self.ends
        )
    }
}

impl Campaign<'_> {
    fn round(&mut self, round: &Round) -> Result<Outcome, String> {
        let start = clock::now();
        self.cluster.whole()?;
        let file = self.directory.join("dotmsg.toml");
        std::fs::write(&file, configuration(round, self.lines.url(), &self.prefix))
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        let mut members = Members::start(
            self.flights,
            (self.directory, self.prefix.trim_end_matches('.').to_owned()),
            options(self.directory, round),
            (round.is_static, round.publisher),
        )?;
        members.wait_for_work(draw::MEMBERS, BEGINNING)?;
        let mut in_time = 0;
        for (before, fault) in &round.faults {
            members.wait(Duration::from_millis(*before))?;
            self.inflict(&mut members, fault)?;
            in_time += usize::from(members.is_at_work());
        }
        let faults_took = start.elapsed();
        self.cluster.whole()?;
        members.finish(DEADLINE)?;
        for table in members.tables()? {
            flights::exact(&table)?;
        }
        let calls = audit::read(&self.directory.join("audit"))?;
        let audit = audit::check_flights(&calls)?;
        let two_owners = audit::under_two_owners(&calls);
        if two_owners > 0 && !round.may_have_two_owners() {
            return Err(format!(
                "{two_owners} calls began before another owner's call of their key had ended, though no owner was cut off"
            ));
        }
        Ok(Outcome {
            audit,
            in_time,
            two_owners,
            ends: std::mem::take(&mut members.ends),
            took: [faults_took, start.elapsed()],
        })
    }

    fn inflict(&mut self, members: &mut Members<'_>, fault: &Fault) -> Result<(), String> {
        match fault {
            Fault::KillMember { member } => members.kill(*member),
            Fault::FreezeMember { member, ms } => {
                members.signal(*member, "STOP")?;
                members.wait(Duration::from_millis(*ms))?;
                members.signal(*member, "CONT")
            }
            Fault::KillBroker { node, ms } => {
                self.cluster.kill(*node)?;
                let waited = members.wait(Duration::from_millis(*ms));
                self.cluster.start(*node)?;
                waited
            }
            Fault::FreezeBroker { node, ms } => {
                self.cluster.pause(*node)?;
                let waited = members.wait(Duration::from_millis(*ms));
                self.cluster.resume(*node)?;
                waited
            }
            Fault::Storm { stays } => stays
                .iter()
                .try_for_each(|(ms, by_kill)| members.visit(Duration::from_millis(*ms), *by_kill)),
            Fault::Roll => (0..draw::MEMBERS).try_for_each(|member| members.restart(member)),
            Fault::CutLine { node, after } => after.iter().try_for_each(|ms| {
                members.wait(Duration::from_millis(*ms))?;
                self.lines.reset(*node)
            }),
            Fault::SlowLine {
                node,
                ms,
                delay_ms,
                bytes,
            } => {
                self.lines.slow(*node, *delay_ms, *bytes)?;
                members.wait(Duration::from_millis(*ms))?;
                self.lines.heal(*node)
            }
            Fault::HoldLine { node, ms, one_way } => {
                match one_way {
                    true => self.lines.mute(*node)?,
                    false => self.lines.hold(*node)?,
                }
                members.wait(Duration::from_millis(*ms))?;
                self.lines.heal(*node)
            }
        }
    }
}

/// The settings of all processes.
fn configuration(round: &Round, url: &str, prefix: &str) -> String {
    let session = round.session_timeout_ms;
    let protocol = match round.protocol {
        Protocol::Sticky => format!("session.timeout.ms = {session}\nheartbeat.interval.ms = 300"),
        Protocol::Range => format!(
            "session.timeout.ms = {session}\nheartbeat.interval.ms = 300\npartition.assignment.strategy = \"range\""
        ),
        Protocol::Broker => "group.protocol = \"consumer\"".to_owned(),
    };
    // The longest interval between polls must not be below the session's, and not below what a drain takes.
    format!(
        "[backend.main]\nurl = \"{url}\"\ntopic_prefix = \"{prefix}\"\n[backend.main.kafka]\n{protocol}\n\
         max.poll.interval.ms = 8000\n"
    )
}

fn options(directory: &Path, round: &Round) -> Vec<String> {
    let members = draw::MEMBERS as u64;
    let work = WORK_PER_FAULT_MS * round.faults.len() as u64;
    let delay = (work * members * CONCURRENCY).div_ceil(flights::ROWS);
    let place = |name: &str| directory.join(name).to_string_lossy().into_owned();
    [
        "--state",
        &place("state"),
        "--audit",
        &place("audit"),
        "--fail-rate",
        FAIL_RATE,
        "--seed",
        &round.failures.to_string(),
        "--delay-ms",
        &delay.to_string(),
    ]
    .map(str::to_owned)
    .to_vec()
}
