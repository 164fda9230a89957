//! `cargo xtask mutants`: the simulation finds each of a list of broken runtimes.
//!
//! A suite that finds nothing may be blind. Each mutant breaks one rule in a copy of the tree, which is built and simulated; it
//! counts as killed when a seed or a scenario reports a violation, and as nothing else: a mutant that does not build, that
//! hangs, or whose place in the source is gone, fails the run. So does the tree without any mutant when it is not clean.

mod catalogue;

use crate::cargo;
use crate::clock;
use crate::no_more;
use crate::workspace::Workspace;
use catalogue::{Edit, MUTANTS, Mutant};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// Seeds that a mutant is given at most.
const SEEDS: &str = "2000";
/// Seeds that the tree without a mutant has to pass here; `cargo xtask sim` is for more.
const CLEAN_SEEDS: &str = "100";
/// A mutant that is not found within this is reported as not found.
const WITHIN: Duration = Duration::from_secs(120);
/// What the simulation prints before a violation.
const VIOLATION: &str = " fails: ";

/// Runs the named mutants, or all.
///
/// # Errors
/// An unknown name, a mutant that survives, a copy that does not build.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    if args.first().is_some_and(|arg| arg == "--list") {
        no_more(&args[1..])?;
        for mutant in MUTANTS {
            println!("{:<28}{}", mutant.name, mutant.breaks);
        }
        return Ok(());
    }
    let chosen = chosen(args)?;
    all(&Workspace::load()?, &chosen)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Mutant>, String> {
    if names.is_empty() {
        return Ok(MUTANTS.iter().collect());
    }
    let by_name = |name: &String| {
        let found = MUTANTS.iter().find(|mutant| mutant.name == name.as_str());
        found.ok_or_else(|| format!("no mutant `{name}`: see `cargo xtask mutants --list`"))
    };
    names.iter().map(by_name).collect()
}

/// Runs these mutants in turn.
///
/// # Errors
/// As [`run`].
fn all(workspace: &Workspace, mutants: &[&Mutant]) -> Result<(), String> {
    let copy = Copy::of(workspace)?;
    if let Some(violation) = copy.violation(CLEAN_SEEDS)? {
        return Err(format!("without any mutant: {violation}"));
    }
    println!("clean without a mutant");
    let mut survivors = Vec::new();
    for mutant in mutants {
        let start = clock::now();
        let found = copy.mutated(mutant, || copy.violation(SEEDS))?;
        let seconds = start.elapsed().as_secs_f64();
        let verdict = match &found {
            Some(violation) => format!("killed: {violation}"),
            None => {
                survivors.push(mutant.name);
                "SURVIVED".to_owned()
            }
        };
        println!("{seconds:6.1} s  {:<28}{verdict}", mutant.name);
    }
    println!(
        "{} of {} killed",
        mutants.len() - survivors.len(),
        mutants.len()
    );
    match survivors.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "the simulation does not notice: {}",
            survivors.join(", ")
        )),
    }
}

/// A copy of the tree with a target directory of its own.
struct Copy {
    tree: PathBuf,
    target: PathBuf,
}

impl Copy {
    /// Copies every file that git knows or would add; one that has not changed since the last time is left as it is, so that it is not
    /// built again.
    fn of(workspace: &Workspace) -> Result<Self, String> {
        let place = workspace.target.join("mutants");
        let (tree, target) = (place.join("tree"), place.join("target"));
        let listed = cargo::command("git", &workspace.root)
            .args([
                "ls-files",
                "--cached",
                "--others",
                "--exclude-standard",
                "-z",
            ])
            .output()
            .map_err(|error| format!("cannot start git: {error}"))?;
        let files = String::from_utf8_lossy(&listed.stdout).into_owned();
        let files: BTreeSet<&str> = files.split('\0').filter(|file| !file.is_empty()).collect();
        remove_others(&tree, &tree, &files)?;
        for file in files {
            let (from, to) = (workspace.root.join(file), tree.join(file));
            // One that git lists and the tree has lost is not part of it.
            let Ok(text) = std::fs::read(&from) else {
                continue;
            };
            if std::fs::read(&to).is_ok_and(|before| before == text) {
                continue;
            }
            write(&to, &text)?;
        }
        Ok(Self { tree, target })
    }

    /// Runs `work` with a mutant in place.
    fn mutated<T>(
        &self,
        mutant: &Mutant,
        work: impl FnOnce() -> Result<T, String>,
    ) -> Result<T, String> {
        let mut before = Vec::new();
        for Edit { file, from, to } in mutant.edits {
            let path = self.tree.join(file);
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("mutant {}: cannot read {file}: {error}", mutant.name))?;
            if text.matches(from).count() != 1 {
                let problem = "what it replaces is not there exactly once";
                return Err(format!(
                    "mutant {}: {file}: {problem}:\n{from}",
                    mutant.name
                ));
            }
            write(&path, text.replace(from, to).as_bytes())?;
            before.push((path, text));
        }
        let result = work();
        for (path, text) in before.into_iter().rev() {
            write(&path, text.as_bytes())?;
        }
        result.map_err(|error| format!("mutant {}: {error}", mutant.name))
    }

    /// Builds it and looks for the first violation, in seeds and then in the scenarios.
    fn violation(&self, seeds: &str) -> Result<Option<String>, String> {
        self.build()?;
        let found = self.simulate(&["--seeds", seeds])?;
        match found {
            Some(found) => Ok(Some(found)),
            None => self.simulate(&["--scenarios"]),
        }
    }

    fn build(&self) -> Result<(), String> {
        let args = [
            "build",
            "--quiet",
            "--package",
            "dotmsg-core",
            "--features",
            "sim",
            "--example",
            "simulate",
        ];
        let output = cargo::command(cargo::program(), &self.tree)
            .args(args)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("RUSTFLAGS", "-A warnings")
            .stdout(Stdio::null())
            .output()
            .map_err(|error| format!("cannot start cargo: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!(
                "does not build:\n{}",
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    }

    /// Runs the simulation until it tells of a violation; it is not waited for any longer.
    fn simulate(&self, args: &[&str]) -> Result<Option<String>, String> {
        let program = self.target.join("debug/examples/simulate");
        let mut child = cargo::command(program, &self.tree)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start the simulation: {error}"))?;
        let lines = child.stdout.take().map(BufReader::new);
        let (sender, found) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let lines = lines
                .into_iter()
                .flat_map(BufRead::lines)
                .map_while(Result::ok);
            let told = lines
                .filter_map(|line| line.split_once(VIOLATION).map(|(_, told)| told.to_owned()));
            let _ = sender.send(told.take(1).next());
        });
        let found = found.recv_timeout(WITHIN);
        end(&mut child)?;
        let _ = reader.join();
        found.map_err(|_| format!("no answer within {} s", WITHIN.as_secs()))
    }
}

/// Removes what is in a copy and not in the tree any more.
fn remove_others(tree: &Path, directory: &Path, files: &BTreeSet<&str>) -> Result<(), String> {
    let failed = |error| format!("cannot tidy {}: {error}", directory.display());
    if !directory.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            remove_others(tree, &path, files)?;
            continue;
        }
        let name = path.strip_prefix(tree).unwrap_or(&path).to_string_lossy();
        if !files.contains(&*name) {
            std::fs::remove_file(&path).map_err(failed)?;
        }
    }
    Ok(())
}

/// Ends a child and reaps it.
fn end(child: &mut Child) -> Result<(), String> {
    // One that has ended already cannot be killed, which is just as well.
    let _ = child.kill();
    child
        .wait()
        .map(|_| ())
        .map_err(|error| format!("cannot wait for the simulation: {error}"))
}

fn write(path: &Path, contents: &[u8]) -> Result<(), String> {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(path, contents))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_finds_its_place() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the workspace");
        for mutant in MUTANTS {
            for Edit { file, from, .. } in mutant.edits {
                let text = std::fs::read_to_string(root.join(file)).expect(file);
                assert_eq!(text.matches(from).count(), 1, "{}: {file}", mutant.name);
            }
        }
    }
}
