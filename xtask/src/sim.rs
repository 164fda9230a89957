//! `cargo xtask sim`: builds the program of the simulation in release and hands its arguments over.
//!
//! In release, because the bar is seeds per second; a program of its own, because one seed is also compared between two
//! processes.

use crate::cargo;
use crate::workspace::Workspace;

/// Builds and runs the example `simulate`.
///
/// # Errors
/// When it does not build, when a seed fails, or when an argument is not known to it.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let workspace = Workspace::load()?;
    println!("the simulation is built in release first, which may take minutes");
    let mut full = vec![
        "run",
        "--quiet",
        "--release",
        "--package",
        "dotmsg-core",
        "--features",
        "sim",
        "--example",
        "simulate",
        "--",
    ];
    full.extend(args.iter().map(String::as_str));
    cargo::run(&workspace.root, &full, &[])
}
