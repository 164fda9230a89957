//! `cargo xtask bench`: hands its arguments to the bench program.
//!
//! The profile is `bench` (fat link-time optimisation), the one that `docs/benchmarks.md` names.

use crate::cargo;
use crate::workspace::Workspace;

/// Builds and runs the bench program.
///
/// # Errors
/// When the package is missing, does not build, or a bar is missed.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let workspace = Workspace::load()?;
    if workspace.package("dotmsg-benches").is_none() {
        return Err("the workspace has no package `dotmsg-benches` yet".to_owned());
    }
    let mut full = vec![
        "run",
        "--package",
        "dotmsg-benches",
        "--profile",
        "bench",
        "--bin",
        "dotmsg-bench",
        "--",
    ];
    full.extend(args.iter().map(String::as_str));
    cargo::run(&workspace.root, &full, &[])
}
