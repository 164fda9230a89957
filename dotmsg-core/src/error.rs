//! The one error type of the framework.
//!
//! An error has a *kind* (what a program may match on), a *retryability* (what middleware decides on), the operation that
//! was attempted, the things it was attempted on, and, where there is one, the remedy. It never carries a secret or a
//! payload. Adapters put their client's own error in as the source; [`Error::downcast_source`] gives it back.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A boxed error of any type, as the source of an [`Error`].
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// What went wrong, as far as a program may need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration is wrong or asks for an impossible combination.
    Config,
    /// The backend cannot give what was asked for.
    Unsupported,
    /// A topic, partition, group, record or file does not exist.
    NotFound,
    /// It exists already, with another shape.
    AlreadyExists,
    /// The backend cannot be reached.
    Unreachable,
    /// No answer within the time limit.
    Timeout,
    /// The rights of this process do not suffice.
    Denied,
    /// Somebody else owns this partition now, or holds the lock.
    Fenced,
    /// Stored bytes fail their check.
    Corrupt,
    /// No room left on the device or in the quota.
    Full,
    /// Larger than a configured or a backend's limit.
    TooLarge,
    /// The component was closed, or closed itself after a failure.
    Closed,
    /// The stored position does not fit the log: expired, truncated or recreated.
    PositionLost,
    /// An argument or a stored value has an impossible form.
    Invalid,
    /// Anything else.
    Unexpected,
}

/// Whether the same operation may succeed when it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retryability {
    /// Trying again later may help.
    Transient,
    /// Trying again without a change elsewhere cannot help.
    Permanent,
}

/// What was attempted, on what, what happened, and what to do about it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retryability: Retryability,
    operation: &'static str,
    message: Cow<'static, str>,
    context: Vec<(&'static str, String)>,
    remedy: Option<Cow<'static, str>>,
    source: Option<BoxError>,
}

impl Error {
    /// A permanent error of `kind`, met while attempting `operation` (a noun or verb phrase such as `"append"`).
    #[must_use]
    pub fn new(
        kind: ErrorKind,
        operation: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let retryability = match kind {
            ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Full => {
                Retryability::Transient
            }
            _ => Retryability::Permanent,
        };
        Self(Box::new(Inner {
            kind,
            retryability,
            operation,
            message: message.into(),
            context: Vec::new(),
            remedy: None,
            source: None,
        }))
    }

    /// Says otherwise than the kind's own default whether trying again may help.
    #[must_use]
    pub fn retryable(mut self, retryability: Retryability) -> Self {
        self.0.retryability = retryability;
        self
    }

    /// Names a thing the operation was attempted on, such as `("topic", "orders")`. Never a secret.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((name, value.to_string()));
        self
    }

    /// What the reader can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// The error underneath.
    #[must_use]
    pub fn source_error(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The kind, to match on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn retryability(&self) -> Retryability {
        self.0.retryability
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.retryability == Retryability::Transient
    }

    /// What was attempted.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The underlying error as `T`, when it is one.
    #[must_use]
    pub fn downcast_source<T: StdError + 'static>(&self) -> Option<&T> {
        self.0.source.as_deref()?.downcast_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message)?;
        for (index, (name, value)) in self.0.context.iter().enumerate() {
            let lead = if index == 0 { " (" } else { ", " };
            write!(f, "{lead}{name} {value}")?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        if let Some(remedy) = &self.0.remedy {
            write!(f, ". {remedy}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_operation_thing_cause_and_remedy() {
        let error = Error::new(ErrorKind::NotFound, "subscribe", "no such topic")
            .with("topic", "orders")
            .with("backend", "main")
            .remedy("Create it or set auto_create = true");
        assert_eq!(
            error.to_string(),
            "subscribe: no such topic (topic orders, backend main). Create it or set auto_create = true"
        );
    }

    #[test]
    fn kinds_that_pass_by_themselves_are_transient() {
        assert!(Error::new(ErrorKind::Full, "append", "no space").is_transient());
        assert!(!Error::new(ErrorKind::Fenced, "commit", "lost").is_transient());
    }
}
