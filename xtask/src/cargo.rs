//! Child processes: cargo, and programs that cargo built.
//!
//! Standard input is closed for every child, so that nothing waits for an answer in CI. `DOTMSG__*` variables of the
//! caller are removed: they would change the configuration that a step compares. So are those that name servers for tests: a
//! step that wants servers says which.

use crate::services::VARIABLES;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// A command in the workspace root with closed input and a neutral environment.
pub(crate) fn command(program: impl AsRef<OsStr>, root: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("DOTMSG__") || text.starts_with(VARIABLES) {
            command.env_remove(name);
        }
    }
    command
}

/// The cargo that started this program.
pub(crate) fn program() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Runs cargo with its output shown.
///
/// # Errors
/// When cargo cannot be started or does not succeed.
pub(crate) fn run(root: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<(), String> {
    let shown = format!("cargo {}", args.join(" "));
    let settings: String = env
        .iter()
        .map(|(name, value)| match name.ends_with("_PASSWORD") {
            true => format!("{name}=… "),
            false => format!("{name}={value:?} "),
        })
        .collect();
    println!("$ {settings}{shown}");
    let status = command(program(), root)
        .args(args)
        .envs(env.iter().copied())
        .status()
        .map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{shown}` ended with {status}"))
    }
}

/// Runs cargo and returns its standard output; its standard error is shown.
///
/// # Errors
/// When cargo cannot be started, does not succeed, or writes something that is not UTF-8.
pub(crate) fn output(root: &Path, args: &[&str]) -> Result<String, String> {
    let shown = format!("cargo {}", args.join(" "));
    let output = command(program(), root)
        .args(args)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{shown}` ended with {}", output.status));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| format!("`{shown}` printed something that is not UTF-8"))
}
