//! A process that outlives the command that started it: its file, its state, its signals.
//!
//! It runs in a session of its own, so that neither the end of this program nor Ctrl-C in its terminal reaches it. The file
//! holds the process id and the moment of its start: ids are used again, and only the process that was started here may ever
//! get a signal from here. std has no call for a signal or a session, and `unsafe` is forbidden: `sh` and `setsid` do it.

use super::cannot;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Between two looks at a process.
pub(super) const POLL: Duration = Duration::from_millis(20);

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    /// It is not there.
    Ended,
    /// It is there.
    Running,
    /// It is there and does nothing: SIGSTOP.
    Paused,
}

/// One process, known by a file.
pub(super) struct Process {
    /// The file with its id and start.
    pub(super) file: PathBuf,
}

impl Process {
    /// Starts a program in a session of its own, with its output appended to a file.
    ///
    /// # Errors
    /// When it cannot be started, or the files not be written.
    pub(super) fn start(
        &self,
        program: &str,
        args: &[String],
        log: &PathBuf,
    ) -> Result<(), String> {
        let output = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(cannot("open", log))?;
        let errors = output.try_clone().map_err(cannot("open", log))?;
        let mut command = in_own_session(program);
        let child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("cannot start `{program}`: {error}"))?;
        let id = child.id();
        let (_, start) = look(id).ok_or_else(|| {
            format!(
                "`{program}` ended at once; what it said is in {}",
                log.display()
            )
        })?;
        std::fs::write(&self.file, format!("{id} {start}\n")).map_err(cannot("write", &self.file))
    }

    /// The id of the process that was started here, while it is there.
    pub(super) fn id(&self) -> Option<u32> {
        self.seen().map(|(id, _)| id)
    }

    pub(super) fn state(&self) -> State {
        self.seen().map_or(State::Ended, |(_, state)| state)
    }

    fn seen(&self) -> Option<(u32, State)> {
        let text = std::fs::read_to_string(&self.file).ok()?;
        let (id, started) = text.trim_end().split_once(' ')?;
        let id = id.parse().ok()?;
        let (state, start) = look(id)?;
        (start == started && state != State::Ended).then_some((id, state))
    }

    /// Sends a signal, by its name without `SIG`. A process that is gone gets none.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub(super) fn signal(&self, name: &str) -> Result<(), String> {
        let Some(id) = self.id() else {
            return Ok(());
        };
        send(name, id).or_else(|error| match self.state() {
            State::Ended => Ok(()),
            _ => Err(error),
        })
    }
}

/// Sends a signal, by its name without `SIG`. The caller knows that the id is still that of its process.
///
/// # Errors
/// When it cannot be sent.
pub(crate) fn send(name: &str, id: u32) -> Result<(), String> {
    // The shell's own `kill`: the program of that name is not installed everywhere.
    let sent = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &id.to_string()])
        .stdin(Stdio::null())
        .status();
    match sent {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`kill -s {name} {id}` ended with {status}")),
        Err(error) => Err(format!("cannot start `sh` for a signal: {error}")),
    }
}

/// `setsid` of Linux keeps the id of the process that it is. Where it is missing (macOS), a group of its own is enough for
/// Ctrl-C.
fn in_own_session(program: &str) -> Command {
    let mut command = if is_installed("setsid") {
        let mut command = Command::new("setsid");
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    #[cfg(unix)]
    if command.get_program() != "setsid" {
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
    }
    command
}

/// Whether a program is on the `PATH`.
pub(super) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// What a process does and when it began, as a text that never changes while it lives.
fn look(id: u32) -> Option<(State, String)> {
    if cfg!(target_os = "linux") {
        return linux(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?);
    }
    let output = Command::new("ps")
        .args(["-o", "state=,lstart=", "-p", &id.to_string()])
        .env("LC_ALL", "C")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (state, start) = text.trim().split_once(' ')?;
    Some((meaning(state), start.trim().to_owned()))
}

/// Reads `/proc/ID/stat`. The name of the program, in parentheses, may contain anything: fields count from its end.
fn linux(stat: &str) -> Option<(State, String)> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    // Fields 3, 20 and 22 of the manual page.
    let (state, threads) = (meaning(fields.next()?), fields.nth(16)?);
    let start = fields.nth(1)?;
    // The first thread may have ended before the others, which still hold the ports.
    let state = match state {
        State::Ended if threads.parse::<u32>().ok()? > 1 => State::Running,
        state => state,
    };
    Some((state, start.to_owned()))
}

fn meaning(state: &str) -> State {
    match state.chars().next() {
        // Nobody has fetched its exit code yet: it has ended nevertheless.
        Some('Z' | 'X') | None => State::Ended,
        Some('T' | 't') => State::Paused,
        Some(_) => State::Running,
    }
}

#[cfg(test)]
mod tests {
    use super::{Process, State, linux};
    use std::path::PathBuf;
    use std::time::Duration;

    #[test]
    fn fields_are_counted_from_the_end_of_the_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 10 11";
        assert_eq!(linux(stat), Some((State::Running, "4711".to_owned())));
        assert_eq!(
            linux(&stat.replace(") S", ") T")).map(|(state, _)| state),
            Some(State::Paused)
        );
        assert_eq!(
            linux(&stat.replace(") S", ") Z")).map(|(state, _)| state),
            Some(State::Ended)
        );
    }

    #[test]
    fn a_process_has_ended_with_its_last_thread() {
        let stat = |threads: u32| {
            let stat = format!("7 (java) Z 1 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 {threads} 0 4711 1");
            linux(&stat).map(|(state, _)| state)
        };
        assert_eq!(stat(0), Some(State::Ended));
        assert_eq!(stat(1), Some(State::Ended));
        assert_eq!(stat(2), Some(State::Running));
    }

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("dotmsg-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// Long enough for a loaded machine; a test that waits in vain fails after it.
    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn a_process_is_paused_continued_and_killed() {
        let directory = directory("process");
        let process = Process {
            file: directory.join("pid"),
        };
        assert_eq!(process.state(), State::Ended);
        process
            .start("sleep", &["600".to_owned()], &directory.join("log"))
            .unwrap();
        assert_eq!(process.state(), State::Running);
        process.signal("STOP").unwrap();
        until(&process, State::Paused);
        process.signal("CONT").unwrap();
        until(&process, State::Running);
        process.signal("KILL").unwrap();
        until(&process, State::Ended);
        process.signal("KILL").unwrap();
        std::fs::remove_dir_all(directory).unwrap();
    }

    fn until(process: &Process, state: State) {
        let start = crate::clock::now();
        while process.state() != state {
            assert!(start.elapsed() < LIMIT, "never {state:?}");
            crate::clock::pause(super::POLL);
        }
    }

    #[test]
    fn an_id_that_is_used_again_is_somebody_else() {
        let directory = directory("reused");
        let process = Process {
            file: directory.join("pid"),
        };
        std::fs::write(&process.file, format!("{} 1\n", std::process::id())).unwrap();
        assert_eq!(process.state(), State::Ended);
        // Would end this test.
        process.signal("KILL").unwrap();
        std::fs::remove_dir_all(directory).unwrap();
    }
}
