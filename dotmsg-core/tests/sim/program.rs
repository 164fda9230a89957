//! One seed gives one history in every process: this test's own program is run twice, and prints hashes.

use std::process::Command;

use dotmsg_core::sim::{Plan, Size, run_scripted};

const SEEDS: u64 = 12;

/// Not a test of its own: what the two processes do.
#[test]
#[ignore = "prints what the test below compares"]
#[allow(clippy::print_stdout, reason = "another process reads it")]
fn hashes() {
    for seed in 0..SEEDS {
        let (history, _) = run_scripted(Plan::draw(seed, Size::default()), None);
        println!(
            "hash {seed} {:016x} {}",
            history.hash(),
            history.events.len()
        );
    }
}

fn another_process() -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["program::hashes", "--exact", "--ignored", "--nocapture"]);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let hashes = text.lines().filter(|line| line.starts_with("hash "));
    hashes.map(str::to_owned).collect()
}

#[test]
fn one_seed_has_one_hash_in_two_processes() {
    let first = another_process();
    assert_eq!(first.len() as u64, SEEDS, "{first:?}");
    assert_eq!(first, another_process());
    let mut distinct: Vec<&str> = first
        .iter()
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(
        distinct.len() as u64,
        SEEDS,
        "seeds share a hash: {first:?}"
    );
}
