//! Where a command writes and what it may ask: the process's own streams, or memory.
//!
//! What must stay true: results go to `out` and nothing else does, so that they can be piped; questions, notes and progress
//! go to `err`. Whoever is not at a terminal is asked nothing.

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::exit::{Failure, Outcome};

/// The streams of a command.
pub struct Console {
    pub(crate) out: Box<dyn Write + Send>,
    pub(crate) err: Box<dyn Write + Send>,
    pub(crate) input: Box<dyn BufRead + Send>,
    /// Somebody sits at the input.
    pub(crate) answers: bool,
    /// Somebody sees `err` at once.
    pub(crate) watched: bool,
    /// `out` is a terminal.
    pub(crate) screen: bool,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("answers", &self.answers)
            .field("screen", &self.screen)
            .finish_non_exhaustive()
    }
}

impl Console {
    /// Standard input, output and error of this process.
    #[must_use]
    pub fn process() -> Self {
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            input: Box::new(io::BufReader::new(io::stdin())),
            answers: io::stdin().is_terminal(),
            watched: io::stderr().is_terminal(),
            screen: io::stdout().is_terminal(),
        }
    }

    /// In memory: reads `input`, and what is written is in [`Captured`]. There is no terminal.
    #[must_use]
    pub fn captured(input: impl Into<Vec<u8>>) -> (Self, Captured) {
        let captured = Captured::default();
        let console = Self {
            out: Box::new(captured.out.clone()),
            err: Box::new(captured.err.clone()),
            input: Box::new(io::Cursor::new(input.into())),
            answers: false,
            watched: false,
            screen: false,
        };
        (console, captured)
    }

    /// Asks, and goes on only when the answer is yes.
    pub(crate) fn confirm(&mut self, question: &str, yes: bool) -> Outcome<()> {
        if yes {
            return Ok(());
        }
        if !self.answers {
            let refused = format!("{question} There is nobody to ask: say --yes");
            return Err(Failure::Usage(refused));
        }
        write!(self.err, "{question} [y/N] ")?;
        self.err.flush()?;
        let mut answer = String::new();
        self.input.read_line(&mut answer)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::usage("nothing was done")),
        }
    }
}

/// What a command has written to a [`Console`] in memory.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    out: Shared,
    err: Shared,
}

impl Captured {
    /// Its results.
    #[must_use]
    pub fn out(&self) -> String {
        self.out.text()
    }

    /// Its notes and errors.
    #[must_use]
    pub fn err(&self) -> String {
        self.err.text()
    }
}

#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(input: &str, answers: bool, yes: bool) -> (Outcome<()>, String) {
        let (mut console, captured) = Console::captured(input);
        console.answers = answers;
        (console.confirm("Discard all?", yes), captured.err())
    }

    #[test]
    fn only_yes_is_yes() {
        for (input, goes_on) in [
            ("y\n", true),
            ("yes\n", true),
            ("n\n", false),
            ("\n", false),
            ("", false),
        ] {
            let (outcome, said) = asked(input, true, false);
            assert_eq!(outcome.is_ok(), goes_on, "{input:?}");
            assert_eq!(said, "Discard all? [y/N] ");
        }
    }

    #[test]
    fn nobody_is_asked_where_nobody_answers_or_it_is_said() {
        let (outcome, said) = asked("y\n", false, false);
        assert!(matches!(outcome, Err(Failure::Usage(why)) if why.contains("--yes")));
        assert_eq!(said, "");
        let (outcome, said) = asked("", false, true);
        assert!(outcome.is_ok() && said.is_empty());
    }
}
