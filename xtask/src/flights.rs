//! The example `flights`: building it, starting it, and the table it must print.
//!
//! The table is the same at any rate of injected failures and after any number of kills: that is what the example is for.
//! Every run gets directories of its own below the target directory, on a real disk rather than in a memory file system.

use crate::cargo;
use crate::clock;
use crate::step::Done;
use crate::workspace::Workspace;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Rows of the input, numbered from 1.
pub(crate) const ROWS: u64 = 27_004;

/// What the table must say, counted from the input by other means.
const EXACT: &[(&str, u64)] = &[
    ("rows", ROWS),
    ("handled", 26_398),
    ("dead", 606),
    ("never_departed", 521),
    ("no_air_time", 85),
    ("miles", 26_755_517),
    ("aircraft", 3_140),
];

/// A run that takes longer hangs: the slowest one measured ends in seconds.
pub(crate) const DEADLINE: Duration = Duration::from_secs(300);

/// How often a running child is asked whether it ended.
const POLL: Duration = Duration::from_millis(2);

/// The example, once it exists.
pub(crate) struct Flights {
    root: PathBuf,
    target: PathBuf,
}

/// Why a step that needs the example was left out.
pub(crate) fn absent() -> Done {
    Done::Skipped("the workspace has no example `flights` yet".to_owned())
}

impl Flights {
    /// The example, if the facade has it.
    pub(crate) fn find(workspace: &Workspace) -> Option<Self> {
        let facade = workspace.package("dotmsg")?;
        facade
            .examples
            .iter()
            .any(|name| name == "flights")
            .then(|| Self {
                root: workspace.root.clone(),
                target: workspace.target.clone(),
            })
    }

    /// Builds it as a user would run it.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) fn build(&self) -> Result<(), String> {
        cargo::run(
            &self.root,
            &[
                "build",
                "--release",
                "--package",
                "dotmsg",
                "--example",
                "flights",
            ],
            &[],
        )
    }

    /// Builds it with the adapter of Kafka, and the proxy that breaks its connections.
    ///
    /// # Errors
    /// When one does not build.
    pub(crate) fn build_for_kafka(&self) -> Result<(), String> {
        let examples = ["--example", "flights", "--example", "proxy"];
        let packages = ["--package", "dotmsg", "--package", "dotmsg-testkit"];
        let mut args = vec!["build", "--release", "--features", "dotmsg/kafka"];
        args.extend(packages.iter().chain(&examples));
        cargo::run(&self.root, &args, &[])
    }

    /// A command of it that runs in `directory`, where it finds its configuration; what it prints goes to files there that
    /// begin with `name`.
    ///
    /// # Errors
    /// When these cannot be made.
    pub(crate) fn command_in(&self, directory: &Path, name: &str) -> Result<Command, String> {
        let program = self.target.join("release/examples/flights");
        let mut command = cargo::command(&program, directory);
        command
            .stdout(create(&directory.join(format!("{name}.out")))?)
            .stderr(create(&directory.join(format!("{name}.err")))?);
        Ok(command)
    }

    /// An empty directory for one run.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn fresh_directory(&self, name: &str) -> Result<PathBuf, String> {
        let directory = self
            .target
            .join("xtask")
            .join(format!("{name}-{}", std::process::id()));
        let shown = directory.display();
        if directory.exists() {
            std::fs::remove_dir_all(&directory)
                .map_err(|error| format!("cannot empty {shown}: {error}"))?;
        }
        std::fs::create_dir_all(&directory)
            .map_err(|error| format!("cannot make {shown}: {error}"))?;
        Ok(directory)
    }

    /// Starts it on the directories below `directory`; what it prints goes to files there.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(&self, directory: &Path, more: &[String]) -> Result<Child, String> {
        let program = self.target.join("release/examples/flights");
        let out = create(&directory.join("stdout"))?;
        let err = create(&directory.join("stderr"))?;
        cargo::command(&program, &self.root)
            .arg("--json")
            .arg("--backend")
            .arg(format!("log:{}", directory.join("log").display()))
            .arg("--state")
            .arg(directory.join("state"))
            .args(more)
            .stdout(Stdio::from(out))
            .stderr(Stdio::from(err))
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))
    }

    /// Runs it to its end and returns the table.
    ///
    /// # Errors
    /// When it does not end in time, fails, or prints no table.
    pub(crate) fn finish(&self, directory: &Path, more: &[String]) -> Result<Value, String> {
        let mut child = self.start(directory, more)?;
        if !ended_within(&mut child, DEADLINE)? {
            kill(&mut child)?;
            return Err(format!(
                "flights did not end within {} s{}",
                DEADLINE.as_secs(),
                said(directory)
            ));
        }
        let status = child
            .wait()
            .map_err(|error| format!("cannot wait for flights: {error}"))?;
        if !status.success() {
            return Err(format!("flights ended with {status}{}", said(directory)));
        }
        printed_table(&directory.join("stdout"))
    }
}

/// The table in a file that standard output went to.
///
/// # Errors
/// When there is none.
pub(crate) fn printed_table(path: &Path) -> Result<Value, String> {
    let printed = read(path)?;
    let object = printed.find('{').map_or("", |start| &printed[start..]);
    serde_json::from_str(object)
        .map_err(|error| format!("flights --json printed no JSON object ({error}): {printed:?}"))
}

/// Inputs that must be refused without a trace: the run after them prints the exact table. Each is a name, and what the file
/// of that name holds; `None`: a directory.
const BAD_INPUTS: &[(&str, Option<&[u8]>)] = &[
    ("directory", None),
    ("empty.csv", Some(b"")),
    ("foreign.csv", Some(b"a,b\n1,2\n")),
    ("not-packed.csv.gz", Some(b"year,month,day\n")),
    (
        "no-rows.csv",
        Some(b"dep_time,carrier,flight,tailnum,origin,dest,air_time,distance\n"),
    ),
    (
        "torn.csv",
        Some(
            b"dep_time,carrier,flight,tailnum,origin,dest,air_time,distance\n\
            517,UA,1545,N14228,EWR,IAH,227,1400\n533,UA",
        ),
    ),
];

impl Flights {
    /// Runs it on each bad input, all with the same log and notes.
    ///
    /// # Errors
    /// When it takes one.
    pub(crate) fn refuses_bad_inputs(&self, directory: &Path) -> Result<(), String> {
        for (name, content) in BAD_INPUTS {
            let path = directory.join(name);
            match content {
                Some(bytes) => std::fs::write(&path, bytes),
                None => std::fs::create_dir(&path),
            }
            .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
            let input = ["--input".to_owned(), path.display().to_string()];
            if let Ok(table) = self.finish(directory, &input) {
                return Err(format!("flights took the input {name}: {table}"));
            }
        }
        Ok(())
    }
}

/// Whether the child ended before the time was over.
///
/// # Errors
/// When it cannot be asked.
pub(crate) fn ended_within(child: &mut Child, limit: Duration) -> Result<bool, String> {
    let start = clock::now();
    loop {
        let status = child
            .try_wait()
            .map_err(|error| format!("cannot wait for flights: {error}"))?;
        if status.is_some() {
            return Ok(true);
        }
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        clock::pause(left.min(POLL));
    }
}

/// Kills without a chance to clean up (SIGKILL on Unix), and waits until the process is gone.
///
/// # Errors
/// When the process cannot be killed.
pub(crate) fn kill(child: &mut Child) -> Result<(), String> {
    child
        .kill()
        .and_then(|()| child.wait())
        .map(|_| ())
        .map_err(|error| format!("cannot kill flights: {error}"))
}

/// Compares a table with the exact one; names every field that differs.
///
/// # Errors
/// When one differs.
pub(crate) fn exact(table: &Value) -> Result<(), String> {
    let wrong: Vec<String> = EXACT
        .iter()
        .filter(|(field, value)| table[*field].as_u64() != Some(*value))
        .map(|(field, value)| format!("{field} is {}, must be {value}", table[*field]))
        .collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("the table is wrong: {}", wrong.join("; ")))
    }
}

/// The end of what a failed run wrote to its standard error, and where the rest is.
fn said(directory: &Path) -> String {
    let path = directory.join("stderr");
    let text = read(&path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(20)..].join("\n  ");
    format!("; the end of {}:\n  {tail}", path.display())
}

fn create(path: &Path) -> Result<File, String> {
    File::create(path).map_err(|error| format!("cannot create {}: {error}", path.display()))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> Value {
        EXACT
            .iter()
            .map(|(field, value)| ((*field).to_owned(), Value::from(*value)))
            .collect()
    }

    #[test]
    fn the_table_is_compared_field_by_field() {
        assert_eq!(exact(&right()), Ok(()));
        let mut wrong = right();
        wrong["dead"] = Value::from(607);
        wrong["miles"] = Value::Null;
        let error = exact(&wrong).unwrap_err();
        assert!(
            error.contains("dead is 607, must be 606") && error.contains("miles is null"),
            "{error}"
        );
    }
}
