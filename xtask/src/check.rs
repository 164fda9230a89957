//! `cargo xtask check`: everything about the source that needs no test run.
//!
//! Cheap checks first, so that a formatting slip does not cost a compilation. Clippy runs with every feature on, and then
//! each feature of each crate runs alone: code that only compiles because another feature happens to be on is found here.

use crate::step::{Done, Steps};
use crate::workspace::Workspace;
use crate::{arrows, cargo, deny, links, modules, pager, sessions, tidy};
use std::path::Path;

/// Runs all checks with a summary of their own.
///
/// # Errors
/// The first failing check.
pub(crate) fn run() -> Result<(), String> {
    let workspace = Workspace::load()?;
    let mut steps = Steps::default();
    all(&workspace, &mut steps)?;
    steps.summary();
    Ok(())
}

/// Adds all checks to a task's steps.
///
/// # Errors
/// The first failing check.
pub(crate) fn all(workspace: &Workspace, steps: &mut Steps) -> Result<(), String> {
    let root = &workspace.root;
    steps.run("format", || {
        passed(cargo::run(root, &["fmt", "--all", "--check"], &[]))
    })?;
    steps.run("tidy: module docs, names, paths", || tidy_files(workspace))?;
    steps.run("links between pages", || {
        links::dead(workspace).and_then(none_of)
    })?;
    steps.run("excerpts of examples", || {
        sessions::excerpts(workspace).and_then(none_of)
    })?;
    steps.run("arrows between crates", || crate_arrows(workspace))?;
    steps.run("arrows between core's modules", || core_arrows(workspace))?;
    steps.run("a pager row for every warning", || pager_rows(workspace))?;
    steps.run("default features without C code", || no_c_code(workspace))?;
    steps.run("licences, bans, sources", || deny::run(workspace))?;
    steps.run("clippy", || {
        passed(cargo::run(
            root,
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--all-features",
                "--",
                "-D",
                "warnings",
            ],
            &[],
        ))
    })?;
    steps.run("each feature alone", || each_feature(workspace))?;
    steps.run("docs", || {
        passed(cargo::run(
            root,
            &["doc", "--no-deps", "--workspace", "--all-features"],
            &[("RUSTDOCFLAGS", "-D warnings")],
        ))
    })
}

fn passed(outcome: Result<(), String>) -> Result<Done, String> {
    outcome.map(|()| Done::Passed)
}

/// Fails with every line at once, or passes.
fn none_of(violations: Vec<String>) -> Result<Done, String> {
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => Ok(Done::Passed),
        count => Err(format!("{count} violations, listed above")),
    }
}

fn tidy_files(workspace: &Workspace) -> Result<Done, String> {
    let mut errors = Vec::new();
    for file in workspace.files(&["rs"])? {
        let findings = tidy::rust(&file, &workspace.read(&file)?);
        errors.extend(findings.errors);
        for warning in findings.warnings {
            println!("warning: {warning}");
        }
    }
    for file in workspace.files(&["md", "toml", "yml", "yaml", "sh"])? {
        errors.extend(tidy::machine_paths(&file, &workspace.read(&file)?));
    }
    none_of(errors)
}

fn crate_arrows(workspace: &Workspace) -> Result<Done, String> {
    let mut found = arrows::violations(&workspace.packages);
    found.extend(arrows::examples_past_the_facade(
        workspace,
        &workspace.files(&["rs"])?,
    )?);
    none_of(found)
}

fn core_arrows(workspace: &Workspace) -> Result<Done, String> {
    let source_root = Path::new("dotmsg-core/src");
    let mut sources = Vec::new();
    for file in workspace.files(&["rs"])? {
        if let Ok(below) = file.strip_prefix(source_root) {
            sources.push((below.to_string_lossy().into_owned(), workspace.read(&file)?));
        }
    }
    let found = modules::violations("dotmsg-core", &sources);
    none_of(
        found
            .iter()
            .map(|violation| format!("{}/{violation}", source_root.display()))
            .collect(),
    )
}

fn pager_rows(workspace: &Workspace) -> Result<Done, String> {
    let table = workspace.read(Path::new(pager::TABLE))?;
    let mut found = Vec::new();
    for file in workspace.files(&["rs"])? {
        if file.starts_with("dotmsg-core/src") {
            found.extend(pager::missing(
                &file.to_string_lossy(),
                &workspace.read(&file)?,
                &table,
            ));
        }
    }
    none_of(found)
}

fn no_c_code(workspace: &Workspace) -> Result<Done, String> {
    let tree = [
        "tree",
        "--package",
        "dotmsg",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
    ];
    let found = arrows::c_code(&cargo::output(&workspace.root, &tree)?);
    let explain = |name: &String| {
        format!("`dotmsg` with default features pulls in `{name}`, which builds or links C code")
    };
    none_of(found.iter().map(explain).collect())
}

fn each_feature(workspace: &Workspace) -> Result<Done, String> {
    for package in &workspace.packages {
        let none = std::iter::once(None);
        for feature in none.chain(package.features.iter().map(Some)) {
            let mut args = vec![
                "clippy",
                "--quiet",
                "--package",
                &package.name,
                "--no-default-features",
            ];
            if let Some(feature) = feature {
                args.extend(["--features", feature]);
            }
            args.extend(["--", "-D", "warnings"]);
            cargo::run(&workspace.root, &args, &[])?;
        }
    }
    Ok(Done::Passed)
}
