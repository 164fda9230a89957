//! The audit of handler calls: what the kill loop reads, and the rules it must obey.
//!
//! Each process that runs flights appends one JSON line per handler call, when the call ends and before its settlement. A
//! killed process may therefore lose the line of a call that it did not settle, never of one that it did. The rules are a
//! pure function over parsed lines, so that tests can plant each violation.

use crate::flights::ROWS;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How a handler call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Handled,
    Retry,
    Dead,
}

/// One handler call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) row: u64,
    /// `None` for the null key, which has no order.
    pub(crate) key: Option<String>,
    pub(crate) topic: String,
    pub(crate) partition: u64,
    pub(crate) offset: u64,
    pub(crate) attempt: u64,
    pub(crate) outcome: Outcome,
    pub(crate) epoch: u64,
    pub(crate) start_us: u64,
    pub(crate) end_us: u64,
    pub(crate) pid: u64,
}

impl Call {
    fn is_final(&self) -> bool {
        self.outcome != Outcome::Retry
    }
}

/// Every call that any process noted in this directory.
///
/// # Errors
/// When a file cannot be read, or is no audit.
pub(crate) fn read(directory: &Path) -> Result<Vec<Call>, String> {
    let shown = directory.display();
    let mut calls = Vec::new();
    let entries =
        std::fs::read_dir(directory).map_err(|error| format!("cannot list {shown}: {error}"))?;
    for entry in entries {
        let path = entry
            .map_err(|error| format!("cannot list {shown}: {error}"))?
            .path();
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        calls.extend(parse(&path.display().to_string(), &text)?);
    }
    Ok(calls)
}

/// How many processes have noted a call in this directory.
pub(crate) fn processes(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let has_calls = |entry: &std::fs::DirEntry| entry.metadata().is_ok_and(|file| file.len() > 0);
    entries.filter(has_calls).count()
}

/// How many lines were noted in this directory.
pub(crate) fn lines(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| std::fs::read(entry.path()).ok());
    let lines = |text: Vec<u8>| text.iter().filter(|byte| **byte == b'\n').count() as u64;
    texts.map(lines).sum()
}

/// Parses one audit file. A last line without its end is the mark of a kill in the middle of a write, and left out.
///
/// # Errors
/// When another line is not an audit line.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Call>, String> {
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let parse = |(index, line): (usize, &str)| {
        call(line).map_err(|error| format!("{file}:{}: {error}: {line}", index + 1))
    };
    whole.lines().enumerate().map(parse).collect()
}

fn call(line: &str) -> Result<Call, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let number = |name: &str| {
        value[name]
            .as_u64()
            .ok_or(format!("`{name}` is not a number"))
    };
    let outcome = match value["outcome"].as_str() {
        Some("handled") => Outcome::Handled,
        Some("retry") => Outcome::Retry,
        Some("dead") => Outcome::Dead,
        _ => return Err("`outcome` is none of handled, retry, dead".to_owned()),
    };
    let key = match &value["key"] {
        Value::Null => None,
        Value::String(key) => Some(key.clone()),
        _ => return Err("`key` is neither a string nor null".to_owned()),
    };
    Ok(Call {
        row: number("row")?,
        key: key.filter(|key| key != "NA"),
        topic: value["topic"]
            .as_str()
            .ok_or("`topic` is not a string")?
            .to_owned(),
        partition: number("partition")?,
        offset: number("offset")?,
        attempt: number("attempt")?,
        outcome,
        epoch: number("epoch")?,
        start_us: number("start_us")?,
        end_us: number("end_us")?,
        pid: number("pid")?,
    })
}

/// What an audit without violations shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) calls: usize,
    pub(crate) retries: usize,
    /// Records with a final outcome more than once: the redeliveries that at-least-once allows.
    pub(crate) repeated: usize,
}

/// Checks all calls of one round; `rows` is how many rows must be there.
///
/// # Errors
/// One line per violation.
pub(crate) fn check(calls: &[Call], rows: u64) -> Result<Summary, Vec<String>> {
    let mut violations = rows_missing_or_torn(calls, rows);
    violations.extend(doubled(calls));
    for lane in lanes(calls, |call| (call.epoch, call.pid)) {
        violations.extend(overlap(&lane));
        violations.extend(interleaved(&lane));
        violations.extend(out_of_order(&lane));
    }
    for lane in lanes(calls, |_| ()) {
        violations.extend(out_of_order(&lane));
        violations.extend(published_out_of_order(&lane));
    }
    if violations.is_empty() {
        Ok(summary(calls))
    } else {
        Err(violations)
    }
}

fn summary(calls: &[Call]) -> Summary {
    let mut finals: BTreeMap<(&str, u64, u64), usize> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.is_final()) {
        *finals
            .entry((&call.topic, call.partition, call.offset))
            .or_default() += 1;
    }
    Summary {
        calls: calls.len(),
        retries: calls.iter().filter(|call| !call.is_final()).count(),
        repeated: finals.values().filter(|count| **count > 1).count(),
    }
}

/// Every row has a final outcome, always the same one.
fn rows_missing_or_torn(calls: &[Call], rows: u64) -> Vec<String> {
    let mut outcomes: BTreeMap<u64, Outcome> = BTreeMap::new();
    let mut violations = Vec::new();
    for call in calls.iter().filter(|call| call.is_final()) {
        let first = *outcomes.entry(call.row).or_insert(call.outcome);
        if first != call.outcome {
            violations.push(format!("row {}: both handled and dead", call.row));
        }
    }
    for call in calls
        .iter()
        .filter(|call| call.row == 0 || call.row > rows || call.attempt == 0)
    {
        violations.push(format!(
            "row {}, attempt {}: not of this input",
            call.row, call.attempt
        ));
    }
    let missing: Vec<u64> = (1..=rows)
        .filter(|row| !outcomes.contains_key(row))
        .collect();
    if let Some(first) = missing.first() {
        violations.push(format!(
            "{} rows without a final outcome, first row {first}",
            missing.len()
        ));
    }
    violations
}

/// One owner handles a record again after its final outcome, or an attempt of it twice. Only a new owner may repeat: at
/// least once is no leave to double. Also of null keys.
fn doubled(calls: &[Call]) -> Vec<String> {
    let mut by_record: BTreeMap<(&str, u64, u64, u64, u64), Vec<&Call>> = BTreeMap::new();
    for call in calls {
        let record = (
            &*call.topic,
            call.partition,
            call.offset,
            call.epoch,
            call.pid,
        );
        by_record.entry(record).or_default().push(call);
    }
    let mut violations = Vec::new();
    for mut calls in by_record.into_values() {
        calls.sort_by_key(|call| (call.start_us, call.end_us, call.attempt));
        for pair in calls.windows(2) {
            if pair[0].is_final() {
                violations.push(format!("{}: again after its end", place(pair[1])));
            } else if pair[1].attempt <= pair[0].attempt {
                violations.push(format!("{}: the same attempt again", place(pair[1])));
            }
        }
    }
    violations
}

/// The calls of each keyed lane, further divided by `by`, in order of their start.
fn lanes<B: Ord>(calls: &[Call], by: impl Fn(&Call) -> B) -> Vec<Vec<&Call>> {
    let mut lanes: BTreeMap<(&str, u64, &str, B), Vec<&Call>> = BTreeMap::new();
    for call in calls {
        if let Some(key) = &call.key {
            lanes
                .entry((&call.topic, call.partition, key, by(call)))
                .or_default()
                .push(call);
        }
    }
    let mut lanes: Vec<_> = lanes.into_values().collect();
    for lane in &mut lanes {
        lane.sort_by_key(|call| (call.start_us, call.end_us, call.offset, call.attempt));
    }
    lanes
}

/// Where a violation is, for a reader of the audit files.
fn place(call: &Call) -> String {
    format!(
        "key {:?}, partition {}, epoch {}, pid {}: offset {} (row {}, attempt {})",
        call.key.as_deref().unwrap_or("null"),
        call.partition,
        call.epoch,
        call.pid,
        call.offset,
        call.row,
        call.attempt
    )
}

/// Two calls of one key at the same time.
fn overlap(lane: &[&Call]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut latest = 0;
    for call in lane {
        if call.end_us < call.start_us {
            violations.push(format!("{}: ends before it starts", place(call)));
        }
        if call.start_us < latest {
            violations.push(format!(
                "{}: starts before an earlier call of its key ended",
                place(call)
            ));
        }
        latest = latest.max(call.end_us);
    }
    violations
}

/// How many calls of keys began before a call of the key by another owner had ended. An owner that lost its partitions and has
/// not heard of it yet makes such calls, and no checker can tell from the audit alone whether it could have known.
pub(crate) fn under_two_owners(calls: &[Call]) -> usize {
    let mut found = 0;
    for lane in lanes(calls, |_| ()) {
        let mut ends: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for call in lane {
            let owner = (call.epoch, call.pid);
            let mut others = ends.iter().filter(|(other, _)| **other != owner);
            found += usize::from(others.any(|(_, end)| *end > call.start_us));
            let end = ends.entry(owner).or_default();
            *end = call.end_us.max(*end);
        }
    }
    found
}

/// Another record of the key runs while the one before it waits for a retry.
fn interleaved(lane: &[&Call]) -> Vec<String> {
    let is_early = |pair: &&[&Call]| pair[0].offset != pair[1].offset && !pair[0].is_final();
    lane.windows(2)
        .filter(is_early)
        .map(|pair| {
            format!(
                "{}: runs while offset {} waits for a retry",
                place(pair[1]),
                pair[0].offset
            )
        })
        .collect()
}

/// The first final outcomes of the lane's records do not ascend by offset.
fn out_of_order(lane: &[&Call]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut highest = None;
    let mut violations = Vec::new();
    for call in lane.iter().filter(|call| call.is_final()) {
        if seen.insert(call.offset) {
            if let Some(before) = highest.filter(|before| *before > call.offset) {
                violations.push(format!("{}: final after offset {before}", place(call)));
            }
            highest = highest.max(Some(call.offset));
        }
    }
    violations
}

/// Offsets do not follow rows. A publisher that resumes after a kill may repeat rows, so only the first record of a row counts.
fn published_out_of_order(lane: &[&Call]) -> Vec<String> {
    let by_offset: BTreeMap<u64, &Call> = lane.iter().map(|call| (call.offset, *call)).collect();
    let mut seen = BTreeSet::new();
    let firsts: Vec<&Call> = by_offset
        .into_values()
        .filter(|call| seen.insert(call.row))
        .collect();
    firsts
        .windows(2)
        .filter(|pair| pair[0].row > pair[1].row)
        .map(|pair| format!("{}: published after row {}", place(pair[1]), pair[0].row))
        .collect()
}

/// Checks the calls of a whole flights run.
///
/// # Errors
/// The first violations and how many there are.
pub(crate) fn check_flights(calls: &[Call]) -> Result<Summary, String> {
    check_rows(calls, ROWS)
}

/// Checks the calls of a whole run of so many rows.
///
/// # Errors
/// The first violations and how many there are.
pub(crate) fn check_rows(calls: &[Call], rows: u64) -> Result<Summary, String> {
    const SHOWN: usize = 10;
    check(calls, rows).map_err(|violations| {
        let shown = violations
            .iter()
            .take(SHOWN)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n  ");
        format!(
            "{} violations in the audit, the first:\n  {shown}",
            violations.len()
        )
    })
}

#[cfg(test)]
mod tests;
