//! What a handler may return, and what it comes to.

use super::{HandlerError, HandlerResult, Outgoing};
use crate::delivery::Settlement;

/// Messages to publish, then a settlement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// Published and confirmed, in order, before the settlement.
    pub outgoing: Vec<Outgoing>,
    /// How the delivery ends then.
    pub settlement: Settlement,
}

impl From<Settlement> for Returned {
    fn from(settlement: Settlement) -> Self {
        Self {
            outgoing: Vec::new(),
            settlement,
        }
    }
}

impl From<Vec<Outgoing>> for Returned {
    fn from(outgoing: Vec<Outgoing>) -> Self {
        Self {
            outgoing,
            settlement: Settlement::Ack,
        }
    }
}

/// A value that a handler may return: `()`, a [`Settlement`], one or more [`Outgoing`] messages, both, or a `Result` of
/// any of these whose error converts into a [`HandlerError`].
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "not a handler's result",
    note = "return `()`, `Settlement`, `Outgoing`, `Option<Outgoing>`, `Vec<Outgoing>`, a tuple or array of `Outgoing`, or a `Result` of one of these"
)]
pub trait IntoReturned {
    /// The messages and the settlement, or the error.
    ///
    /// # Errors
    /// The error it carries, when it is a `Result`.
    fn into_returned(self) -> HandlerResult;
}

impl IntoReturned for Returned {
    fn into_returned(self) -> HandlerResult {
        Ok(self)
    }
}

impl IntoReturned for () {
    fn into_returned(self) -> HandlerResult {
        Ok(Returned::default())
    }
}

impl IntoReturned for Settlement {
    fn into_returned(self) -> HandlerResult {
        Ok(self.into())
    }
}

impl IntoReturned for Outgoing {
    fn into_returned(self) -> HandlerResult {
        Ok(vec![self].into())
    }
}

impl IntoReturned for Option<Outgoing> {
    fn into_returned(self) -> HandlerResult {
        Ok(self.into_iter().collect::<Vec<_>>().into())
    }
}

impl IntoReturned for Vec<Outgoing> {
    fn into_returned(self) -> HandlerResult {
        Ok(self.into())
    }
}

impl<const N: usize> IntoReturned for [Outgoing; N] {
    fn into_returned(self) -> HandlerResult {
        Ok(Vec::from(self).into())
    }
}

impl IntoReturned for (Outgoing, Outgoing) {
    fn into_returned(self) -> HandlerResult {
        Ok(vec![self.0, self.1].into())
    }
}

impl IntoReturned for (Vec<Outgoing>, Settlement) {
    fn into_returned(self) -> HandlerResult {
        Ok(Returned {
            outgoing: self.0,
            settlement: self.1,
        })
    }
}

impl<T, E> IntoReturned for Result<T, E>
where
    T: IntoReturned,
    E: Into<HandlerError>,
{
    fn into_returned(self) -> HandlerResult {
        match self {
            Ok(value) => value.into_returned(),
            Err(error) => Err(error.into()),
        }
    }
}
