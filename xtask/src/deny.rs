//! What may come into the dependency tree: `cargo deny` with the rules of `deny.toml`.
//!
//! The check must not depend on what a machine happens to have installed: a rule that is checked on some machines only is
//! unproven on all of them. So cargo-deny is taken from `PATH` when it is there in the version below, and otherwise built
//! once into `target/tools`. Advisories are left out: their database has to be fetched, and the check must give the same
//! answer without a network.

use crate::cargo;
use crate::step::Done;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};

/// Exact, so that every machine applies the rules alike.
const VERSION: &str = "0.20.2";

/// Checks licences, bans and sources of every package of the workspace, with all features.
///
/// # Errors
/// What `deny.toml` forbids is in the tree, or cargo-deny is neither there nor can be built.
pub(crate) fn run(workspace: &Workspace) -> Result<Done, String> {
    let program = provide(workspace)?;
    // `--workspace`: without it only what the package in the root needs is looked at, not benches and xtask.
    let args = [
        "--workspace",
        "--all-features",
        "check",
        "bans",
        "licenses",
        "sources",
    ];
    println!("$ {} {}", program.display(), args.join(" "));
    let status = cargo::command(&program, &workspace.root)
        .args(args)
        .status()
        .map_err(|error| format!("cannot start `{}`: {error}", program.display()))?;
    if status.success() {
        Ok(Done::Passed)
    } else {
        Err("the dependency tree breaks a rule of deny.toml, named above".to_owned())
    }
}

/// The program, built if need be.
fn provide(workspace: &Workspace) -> Result<PathBuf, String> {
    let tools = workspace.target.join("tools");
    let built = tools
        .join("bin")
        .join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    for program in [Path::new("cargo-deny"), &built] {
        if is_wanted(program, workspace) {
            return Ok(program.to_path_buf());
        }
    }
    println!(
        "cargo-deny {VERSION} is not installed; it is built once, which takes a minute or two and a C compiler"
    );
    let root = tools.to_string_lossy();
    let args = [
        "install",
        "cargo-deny",
        "--locked",
        "--version",
        VERSION,
        "--root",
        &root,
        // Unoptimised it is built in less than two minutes on two cores and still checks within two seconds.
        "--debug",
    ];
    cargo::run(&workspace.root, &args, &[("CARGO_PROFILE_DEV_DEBUG", "0")]).map_err(|error| {
        format!(
            "{error}; it comes from crates.io, so the first check needs a network: \
             and its dependencies have C code, so it needs a C compiler: or install cargo-deny {VERSION} by hand"
        )
    })?;
    Ok(built)
}

fn is_wanted(program: &Path, workspace: &Workspace) -> bool {
    cargo::command(program, &workspace.root)
        .arg("--version")
        .output()
        .is_ok_and(|output| {
            output.stdout.trim_ascii() == format!("cargo-deny {VERSION}").as_bytes()
        })
}
