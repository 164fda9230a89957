//! `cargo xtask bench`: hands its arguments to the bench program, or to the one for real brokers.
//!
//! Without a broker the profile is `bench` (fat link-time optimisation), the one that `docs/benchmarks.md` names, and no C code
//! is built. With one it is `release`, as in the commands of anybody who compares: between a broker and a handler the
//! difference is below what a run can show.

use crate::cargo;
use crate::services::Borrowed;
use crate::workspace::Workspace;

const PACKAGE: &str = "dotmsg-benches";
/// The variable of the broker, as for tests.
const KAFKA: &str = "DOTMSG_TEST_KAFKA_URL";

/// Builds and runs a bench program.
///
/// # Errors
/// When the package is missing, does not build, or a bar is missed.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let workspace = Workspace::load()?;
    if workspace.package(PACKAGE).is_none() {
        return Err(format!("the workspace has no package `{PACKAGE}` yet"));
    }
    match args.split_first() {
        Some((first, rest)) if first == "kafka" => kafka(&workspace, rest),
        _ => embedded(&workspace, args),
    }
}

fn embedded(workspace: &Workspace, args: &[String]) -> Result<(), String> {
    let program = [
        "--profile",
        "bench",
        "--no-default-features",
        "--bin",
        "dotmsg-bench",
        "--",
    ];
    cargo::run(&workspace.root, &command(&program, args), &[])
}

/// dotmsg and the bare client in turn, on the broker that the environment names, else on one that is brought up for it.
fn kafka(workspace: &Workspace, args: &[String]) -> Result<(), String> {
    let mut servers = Borrowed::none(workspace);
    servers.take()?;
    let url = servers.variables.iter().find(|(name, _)| name == KAFKA);
    let boot = url.and_then(|(_, url)| url.strip_prefix("kafka://"));
    let boot = boot.ok_or_else(|| format!("{KAFKA} names no broker, as kafka://host:port"))?;
    let program = ["--release", "--bin", "kafka_peer", "--", "compare"];
    cargo::run(&workspace.root, &command(&program, args), &[("BOOT", boot)])
}

fn command<'a>(program: &[&'a str], args: &'a [String]) -> Vec<&'a str> {
    let mut full = vec!["run", "--package", PACKAGE];
    full.extend(program);
    full.extend(args.iter().map(String::as_str));
    full
}
