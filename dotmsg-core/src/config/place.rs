//! Where a value comes from: every error about it says so.
//!
//! The order of the variants is the order in which errors are listed.

use std::fmt;
use std::sync::Arc;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Place {
    /// In a config file.
    File {
        /// The file's name, as it was opened.
        name: Arc<str>,
        /// The line, from 1; `None` when the error is about something that the file lacks.
        line: Option<usize>,
    },
    /// In an environment variable of this name.
    Environment(Arc<str>),
    /// In the attribute of this handler.
    Attribute(Arc<str>),
    /// In the app's code.
    Code,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                name,
                line: Some(line),
            } => write!(f, "{name}:{line}"),
            Self::File { name, line: None } => f.write_str(name),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Attribute(handler) => write!(f, "attribute of handler {handler}"),
            Self::Code => f.write_str("set in code"),
        }
    }
}
