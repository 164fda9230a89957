//! How a command ends: the exit codes, which scripts rely on, and what is printed of a failure.

use std::io;
use std::process::ExitCode;

use dotmsg::config::ConfigErrors;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked for: code 0.
    Done,
    /// It failed: code 1.
    Failed,
    /// It found what it was asked to look for, a difference or a limit passed, or stopped for it: code 2.
    Differs,
    /// It was called in a wrong way, and did nothing: code 64, `EX_USAGE` of sysexits.
    Usage,
}

/// What `dotmsg help exit-codes` says.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  failed: the error is on standard error
   2  done, and not as it should be:
        topics plan, topics check   a start would change or refuse something
        lag --fail-above            more records are behind
        dlq replay --canary         the canary failed, was not settled in time or had no letter; the rest was left alone
        dlq show                    no dead letter is like that
  64  called in a wrong way; nothing was done. Also: a question was answered with no, or there was nobody to ask and no --yes";

impl Exit {
    /// The code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Differs => 2,
            Self::Usage => 64,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    Usage(String),
    Failed(dotmsg::Error),
    Io(io::Error),
}

/// What a command comes to.
pub(crate) type Outcome<T = Exit> = Result<T, Failure>;

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }
}

impl From<dotmsg::Error> for Failure {
    fn from(error: dotmsg::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Failed(errors.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
