//! `cargo xtask test`: all that CI needs, in order; the README's test command.
//!
//! A step whose target is not in the tree is skipped with a note, and only for as long as the target is absent: once the
//! file exists, its failure is a failure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::flights::{self, Flights};
use crate::services::{Borrowed, VARIABLES};
use crate::step::{Done, Steps};
use crate::workspace::Workspace;
use crate::{cargo, check, faults, kill_loop, no_more, sessions, sim};

/// Seeds of the simulation: seconds, after its build in release.
const SIM_SEEDS: &str = "2000";
/// Rounds of the short kill loop: enough to notice a broken restart, short enough for every push.
const KILL_ROUNDS: u32 = 2;
/// The seed of the short kill loop, so that CI repeats its choices.
const KILL_SEED: u64 = 1;
/// Rounds of the short fault campaign: every kind of fault once.
const FAULT_ROUNDS: u32 = faults::ROUNDS_OF_ALL;
/// Its seed.
const FAULT_SEED: u64 = 1;

/// How many of them run side by side: most of the time they wait for a session to end or for a group to form.
const SIDE_BY_SIDE: &str = "4";

/// Runs everything.
///
/// # Errors
/// The first failing step.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let (offline, rest) = match args.split_first() {
        Some((first, rest)) if first == "--offline" => (true, rest),
        _ => (false, args),
    };
    no_more(rest)?;
    let workspace = Workspace::load()?;
    let mut steps = Steps::default();
    check::all(&workspace, &mut steps)?;
    tests(&workspace, &mut steps, offline)?;
    steps.run("loom", || loom(&workspace))?;
    steps.run("sessions of the documentation", || {
        sessions::replay(&workspace)
    })?;
    let flights = Flights::find(&workspace);
    steps.run("flights: the table", || match &flights {
        Some(flights) => flights.build().and_then(|()| table(flights)),
        None => Ok(flights::absent()),
    })?;
    steps.run("simulation", || {
        let seeds = ["--seeds", SIM_SEEDS].map(str::to_owned);
        sim::run(&seeds)?;
        sim::run(&["--scenarios".to_owned()]).map(|()| Done::Passed)
    })?;
    steps.run("kill loop", || match &flights {
        Some(flights) => kill_loop::rounds(flights, KILL_ROUNDS, KILL_SEED).map(|()| Done::Passed),
        None => Ok(flights::absent()),
    })?;
    steps.run("faults on three brokers", || match (&flights, offline) {
        (None, _) => Ok(flights::absent()),
        (Some(_), true) => Ok(Done::Skipped("--offline".to_owned())),
        (Some(flights), false) => {
            let rounds = (FAULT_ROUNDS, FAULT_SEED);
            faults::rounds(&workspace, flights, rounds, None).map(|()| Done::Passed)
        }
    })?;
    steps.summary();
    Ok(())
}

/// The tests of all crates, and once more those that need a real server, with one.
fn tests(workspace: &Workspace, steps: &mut Steps, offline: bool) -> Result<(), String> {
    let all = ["test", "--workspace", "--all-features"];
    // Those that need a server say that they are skipped, and run in a step of their own.
    steps.run("unit, property, doc and compile-fail tests", || {
        cargo::run(&workspace.root, &all, &[]).map(|()| Done::Passed)
    })?;
    if offline {
        return steps.run("tests on real servers", || {
            Ok(Done::Skipped("--offline".to_owned()))
        });
    }
    let mut servers = Borrowed::none(workspace);
    steps.run("real servers for tests", || {
        servers.take().map(|()| Done::Passed)
    })?;
    let variables: Vec<(&str, &str)> = servers
        .variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let names = on_servers(workspace)?;
    let mut args = all.to_vec();
    args.extend(names.iter().flat_map(|name| ["--test", name]));
    args.extend(["--", "--test-threads", SIDE_BY_SIDE]);
    steps.run("tests on real servers", || {
        cargo::run(&workspace.root, &args, &variables).map(|()| Done::Passed)
    })
}

/// The tests that find a server by a variable: whoever adds one has nothing to add here.
fn on_servers(workspace: &Workspace) -> Result<Vec<String>, String> {
    let mut names = BTreeSet::new();
    let files = workspace.files(&["rs"])?;
    for file in &files {
        let Some(name) = test_of(file, &files) else {
            continue;
        };
        if workspace.read(file)?.contains(VARIABLES) {
            names.insert(name);
        }
    }
    Ok(names.into_iter().collect())
}

/// The test that a file is, or is part of: `tests/name.rs`, `tests/name/main.rs` and what lies beside that.
fn test_of(file: &Path, files: &[PathBuf]) -> Option<String> {
    let folder = file.parent()?;
    let name = match folder.ends_with("tests") {
        true => file.file_stem()?,
        false => {
            let of_tests = folder.parent()?.ends_with("tests");
            let is_test = of_tests && files.contains(&folder.join("main.rs"));
            is_test.then(|| folder.file_name())??
        }
    };
    Some(name.to_string_lossy().into_owned())
}

/// Loom explores the interleavings of the code marked for it; its own target directory keeps `--cfg dotmsg_loom` from
/// rebuilding everything else.
fn loom(workspace: &Workspace) -> Result<Done, String> {
    let mut wanted = false;
    for file in workspace.files(&["rs"])? {
        wanted |= file.starts_with("dotmsg-core") && is_for_loom(&workspace.read(&file)?);
    }
    if !wanted {
        return Ok(Done::Skipped(
            "no code of dotmsg-core is marked `cfg(dotmsg_loom)` yet".to_owned(),
        ));
    }
    let target = workspace.target.join("loom");
    let target = target.to_string_lossy();
    let args = [
        "test",
        "--package",
        "dotmsg-core",
        "--lib",
        "--target-dir",
        &target,
        "loom",
    ];
    cargo::run(
        &workspace.root,
        &args,
        &[("RUSTFLAGS", "--cfg dotmsg_loom")],
    )
    .map(|()| Done::Passed)
}

fn is_for_loom(text: &str) -> bool {
    text.contains("cfg(dotmsg_loom)")
        || text.contains("cfg(all(test, dotmsg_loom))")
        || text.contains("cfg(all(dotmsg_loom, test))")
}

fn table(flights: &Flights) -> Result<Done, String> {
    let directory = flights.fresh_directory("table")?;
    flights.refuses_bad_inputs(&directory)?;
    let table = flights.finish(&directory, &[])?;
    println!("{table}");
    flights::exact(&table)?;
    std::fs::remove_dir_all(&directory)
        .map_err(|error| format!("cannot remove {}: {error}", directory.display()))?;
    Ok(Done::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_known_by_any_of_its_files() {
        let files = ["a/tests/one.rs", "tests/two/main.rs", "tests/two/part.rs"];
        let others = ["a/tests/common/mod.rs", "a/src/lib.rs"];
        let all: Vec<PathBuf> = files.iter().chain(&others).map(PathBuf::from).collect();
        let of = |file: &&str| test_of(Path::new(file), &all);
        let names: Vec<_> = files.iter().filter_map(of).collect();
        assert_eq!(names, ["one", "two", "two"]);
        assert_eq!(others.iter().filter_map(of).count(), 0);
    }
}
