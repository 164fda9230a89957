//! `cargo xtask faults kafka --bars`: two figures that are promised, measured.
//!
//! What a kill repeats: one record is stuck, [`BEHIND`] are completed behind it while more arrive, and the member is killed. The
//! stuck one holds the watermark down, so it is the position record's map of what is settled above it that saves the rest: repeated
//! is what was handled within one commit interval.
//!
//! How long a rolling restart leaves partitions alone: three static members under a steady stream are restarted one after the
//! other. Nobody else may take their partitions meanwhile, so each is idle from its drain until its member is back.

use super::probe::{LIMIT, Program, Trial, remove};
use super::process::Process;
use crate::audit::Call;
use crate::clock;
use crate::services::Cluster;
use crate::workspace::Workspace;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// `commit_interval` of a route, by default.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);
/// Records that are completed behind the one that is stuck.
const BEHIND: u64 = 100_000;
/// What arrives, a second, before and after the kill.
const STREAM: u64 = 10_000;
/// Partitions of the rolling restart, shared by three members.
const PARTITIONS: u64 = 12;
/// What arrives, a second, during a rolling restart: one row per partition every six milliseconds.
const LOAD: u64 = 2_000;
/// How long the members run undisturbed before, between and after restarts.
const CALM: Duration = Duration::from_secs(3);
/// The longest that a partition may be idle.
const IDLE: Duration = Duration::from_secs(2);

/// Measures both.
///
/// # Errors
/// A trial that failed, or a bar that is missed.
pub(super) fn run(workspace: &Workspace) -> Result<(), String> {
    let program = Program::build(workspace)?;
    let cluster = Cluster::take(workspace)?;
    cluster.whole()?;
    let missed = [
        stuck(workspace, &program, &cluster)?,
        rolling(workspace, &program, &cluster)?,
    ];
    match missed.into_iter().flatten().collect::<Vec<_>>() {
        missed if missed.is_empty() => Ok(()),
        missed => Err(missed.join("; ")),
    }
}

fn trial<'p>(
    workspace: &Workspace,
    program: &'p Program,
    (cluster, name): (&Cluster<'_>, &str),
    (partitions, more): (u64, &str),
) -> Result<(Trial<'p>, String), String> {
    let prefix = format!("bars-{name}-{}.", std::process::id());
    let directory = workspace
        .target
        .join("xtask")
        .join(prefix.trim_end_matches('.'));
    let url = cluster.url();
    let configuration = format!(
        "[backend.main]\nurl = \"{url}\"\ntopic_prefix = \"{prefix}\"\nauto_create = true\n\
         auto_create_partitions = {partitions}\n[backend.main.kafka]\nheartbeat.interval.ms = 500\n{more}\n"
    );
    Trial::new(program, directory, &configuration).map(|trial| (trial, prefix))
}

/// What a kill repeats. The bar that is missed, if it is.
fn stuck(
    workspace: &Workspace,
    program: &Program,
    cluster: &Cluster<'_>,
) -> Result<Option<String>, String> {
    let of = (cluster, "stuck");
    let (mut trial, prefix) = trial(workspace, program, of, (1, "session.timeout.ms = 2000"))?;
    // As much again as arrives until the next owner has taken over.
    let rows = BEHIND + 10 * STREAM;
    let first = trial.handle(0, Some(1), None)?;
    wait_for_topic(&mut trial)?;
    let publisher = trial.publish((1, rows), STREAM, 1_000)?;
    let mut members = [first];
    let audit = |trial: &Trial<'_>| crate::audit::lines(&trial.directory.join("audit"));
    trial.until("enough is completed", &mut members, |trial| {
        Ok(audit(trial) >= BEHIND)
    })?;
    members[0].signal("KILL")?;
    members[0].wait(LIMIT)?;
    let before = trial.calls()?;
    let second = trial.handle(0, None, None)?;
    trial.published(publisher)?;
    trial.until_handled(rows, &mut [second])?;
    let (calls, summary) = trial.check(rows)?;
    let bar = Repeated::of(&before, &calls);
    println!(
        "bar: one record stuck, {} completed behind it, kill -9: {} handled again, {} ms of work; one commit interval ({} ms) \
         before the kill: {} handled",
        before.len(),
        summary.repeated,
        bar.oldest.as_millis(),
        COMMIT_INTERVAL.as_millis(),
        bar.in_interval
    );
    end(trial, cluster, &prefix)?;
    Ok((summary.repeated > bar.in_interval)
        .then(|| "more is handled again than one commit interval holds".to_owned()))
}

/// What was handled again.
struct Repeated {
    /// Handled within the last commit interval before the kill.
    in_interval: usize,
    /// How long before the kill the first of what was handled again had ended.
    oldest: Duration,
}

impl Repeated {
    /// `before`: calls of the member that was killed; `all`: those of the next one too.
    fn of(before: &[Call], all: &[Call]) -> Self {
        let killed: BTreeSet<u64> = before.iter().map(|call| call.pid).collect();
        let again: BTreeSet<u64> = all
            .iter()
            .filter(|call| !killed.contains(&call.pid))
            .map(|call| call.offset)
            .collect();
        let last = before.iter().map(|call| call.end_us).max().unwrap_or(0);
        let ago = |call: &Call| Duration::from_micros(last - call.end_us);
        let repeated = before.iter().filter(|call| again.contains(&call.offset));
        Self {
            in_interval: before
                .iter()
                .filter(|call| ago(call) <= COMMIT_INTERVAL)
                .count(),
            oldest: repeated.map(ago).max().unwrap_or_default(),
        }
    }
}

/// How long partitions are idle in a rolling restart. The bar that is missed, if it is.
fn rolling(
    workspace: &Workspace,
    program: &Program,
    cluster: &Cluster<'_>,
) -> Result<Option<String>, String> {
    let of = (cluster, "rolling");
    let more = "session.timeout.ms = 10000";
    let (mut trial, prefix) = trial(workspace, program, of, (PARTITIONS, more))?;
    let ids = ["member-1", "member-2", "member-3"];
    let members: Result<Vec<Process>, String> = ids
        .iter()
        .map(|id| trial.handle(5, None, Some(id)))
        .collect();
    let mut members = members?;
    wait_for_topic(&mut trial)?;
    let mut from = 1;
    let mut publish = |trial: &mut Trial<'_>, seconds: u64| {
        let count = seconds * LOAD;
        from += count;
        trial.publish((from - count, count), LOAD, 100 * PARTITIONS)
    };
    let publisher = publish(&mut trial, 60)?;
    trial.until("all members work", &mut members, |trial| {
        Ok(trial.at_work() >= ids.len())
    })?;
    clock::pause(CALM);
    let begin = now_us(&trial)?;
    for (index, id) in ids.iter().enumerate() {
        members[index].signal("TERM")?;
        if !members[index].wait(LIMIT)? {
            return Err(members[index].last_words(&trial.directory));
        }
        let at_work = trial.at_work();
        members[index] = trial.handle(5, None, Some(id))?;
        trial.until("the member is back", &mut members, |trial| {
            Ok(trial.at_work() > at_work)
        })?;
        clock::pause(CALM);
    }
    let finish = now_us(&trial)?;
    trial.published(publisher)?;
    trial.until_handled(from - 1, &mut members)?;
    let (calls, summary) = trial.check(from - 1)?;
    let idle = longest_idle(&calls, begin, finish);
    let shown: Vec<String> = idle
        .iter()
        .map(|(partition, idle)| format!("{partition}: {}", idle.as_millis()))
        .collect();
    let longest = idle.values().max().copied().unwrap_or_default();
    println!(
        "bar: rolling restart of {} static members, {LOAD} rows a second: no row missing, every key in order, {} of {} rows \
         handled again; longest idle {} ms, by partition (ms): {}",
        ids.len(),
        summary.repeated,
        from - 1,
        longest.as_millis(),
        shown.join(", ")
    );
    drop(members);
    end(trial, cluster, &prefix)?;
    Ok((longest > IDLE).then(|| format!("a partition was idle for {} ms", longest.as_millis())))
}

/// Publishing needs the topic, which the first member makes.
fn wait_for_topic(trial: &mut Trial<'_>) -> Result<(), String> {
    let start = clock::now();
    loop {
        // Nothing is published: whether that can be is all that is asked.
        let publisher = trial.publish((1, 0), 1, 1)?;
        match trial.published(publisher) {
            Ok(()) => return Ok(()),
            Err(error) if start.elapsed() > LIMIT => return Err(error),
            Err(_) => clock::pause(CALM / 10),
        }
    }
}

/// The time of the last call.
fn now_us(trial: &Trial<'_>) -> Result<u64, String> {
    let last = trial.calls()?.iter().map(|call| call.end_us).max();
    last.ok_or_else(|| "no call has ended".to_owned())
}

/// For each partition the longest time in which no call of it ran, between two moments.
fn longest_idle(calls: &[Call], begin: u64, finish: u64) -> BTreeMap<u64, Duration> {
    let mut by_partition: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for call in calls {
        let ran = (call.start_us, call.end_us);
        by_partition.entry(call.partition).or_default().push(ran);
    }
    let longest = |mut ran: Vec<(u64, u64)>| {
        ran.sort_unstable();
        let (mut until, mut longest) = (begin, 0);
        for (start, end) in ran {
            if end < begin || start > finish {
                continue;
            }
            longest = longest.max(start.saturating_sub(until));
            until = until.max(end);
        }
        Duration::from_micros(longest.max(finish.saturating_sub(until)))
    };
    by_partition
        .into_iter()
        .map(|(partition, ran)| (partition, longest(ran)))
        .collect()
}

fn end(trial: Trial<'_>, cluster: &Cluster<'_>, prefix: &str) -> Result<(), String> {
    cluster.delete_topics(prefix)?;
    remove(&trial.directory)
}

#[cfg(test)]
mod tests {
    use super::{Repeated, longest_idle};
    use crate::audit::{Call, Outcome};
    use std::time::Duration;

    fn call(pid: u64, offset: u64, partition: u64, start_us: u64, end_us: u64) -> Call {
        Call {
            row: offset + 1,
            key: None,
            topic: "events".to_owned(),
            partition,
            offset,
            attempt: 1,
            outcome: Outcome::Handled,
            epoch: pid,
            start_us,
            end_us,
            pid,
        }
    }

    #[test]
    fn what_was_handled_again_is_told_by_its_age() {
        let before = [
            call(1, 0, 0, 0, 100_000),
            call(1, 1, 0, 0, 350_000),
            call(1, 2, 0, 0, 400_000),
        ];
        let mut all = before.to_vec();
        all.extend([
            call(2, 1, 0, 900_000, 900_001),
            call(2, 3, 0, 900_000, 900_001),
        ]);
        let repeated = Repeated::of(&before, &all);
        assert_eq!(repeated.in_interval, 2);
        assert_eq!(repeated.oldest, Duration::from_millis(50));
    }

    #[test]
    fn a_partition_is_idle_while_no_call_of_it_runs() {
        let calls = [
            call(1, 0, 0, 1_000, 5_000),
            call(1, 1, 0, 2_000, 3_000),
            call(1, 2, 0, 9_000, 10_000),
            call(1, 0, 1, 4_000, 5_000),
        ];
        let idle = longest_idle(&calls, 1_000, 12_000);
        assert_eq!(idle[&0], Duration::from_micros(4_000));
        assert_eq!(idle[&1], Duration::from_micros(7_000));
    }
}
