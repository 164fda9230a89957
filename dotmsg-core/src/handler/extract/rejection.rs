//! Rejections that several payload kinds share.
//!
//! They do not implement [`std::error::Error`], because every such error converts into a *transient* handler error; these
//! are permanent. None of them carries bytes of the payload.

use std::fmt;

use crate::handler::HandlerError;

/// The payload is null (a tombstone) and the handler's argument cannot be absent. Kind `null_payload`.
///
/// ```
/// use dotmsg_core::handler::{HandlerError, NullPayload};
///
/// let error = HandlerError::from(NullPayload::of("Json<T>"));
/// assert_eq!(error.kind_name(), "null_payload");
/// assert!(error.to_string().contains("Option<Json<T>>"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NullPayload {
    extractor: &'static str,
}

impl NullPayload {
    /// The rejection of an extractor that is written like this, for example `Json<T>`.
    #[must_use]
    pub fn of(extractor: &'static str) -> Self {
        Self { extractor }
    }
}

impl fmt::Display for NullPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extractor = self.extractor;
        write!(
            f,
            "the payload is null (a tombstone); to handle tombstones, take `Option<{extractor}>`"
        )
    }
}

impl From<NullPayload> for HandlerError {
    fn from(rejection: NullPayload) -> Self {
        Self::permanent(rejection.to_string()).kind("null_payload")
    }
}

/// The payload does not decode into the handler's type. Kind `decode`.
///
/// ```
/// use dotmsg_core::handler::{DecodeError, HandlerError};
///
/// let error = HandlerError::from(DecodeError::new::<u64>("is not JSON").at(1, 9));
/// assert_eq!(error.to_string(), "the payload is not JSON (for `u64`) at line 1 column 9");
/// assert_eq!(error.kind_name(), "decode");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    fault: &'static str,
    target: &'static str,
    place: Option<(usize, usize)>,
}

impl DecodeError {
    /// The payload has this fault (a predicate: "is not JSON") for the type `T`. The fault is a constant, so that it
    /// cannot carry bytes of the payload.
    #[must_use]
    pub fn new<T: ?Sized>(fault: &'static str) -> Self {
        Self {
            fault,
            target: std::any::type_name::<T>(),
            place: None,
        }
    }

    /// The same with the place of the fault, both counted from 1.
    #[must_use]
    pub fn at(mut self, line: usize, column: usize) -> Self {
        self.place = Some((line, column));
        self
    }

    /// Line and column of the fault, both counted from 1, where the format has them.
    #[must_use]
    pub fn place(&self) -> Option<(usize, usize)> {
        self.place
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the payload {} (for `{}`)", self.fault, self.target)?;
        match self.place {
            Some((line, column)) => write!(f, " at line {line} column {column}"),
            None => Ok(()),
        }
    }
}

impl From<DecodeError> for HandlerError {
    fn from(rejection: DecodeError) -> Self {
        Self::permanent(rejection.to_string()).kind("decode")
    }
}
