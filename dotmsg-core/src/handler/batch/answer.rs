//! What a batch handler may return.

use crate::delivery::Settlement;
use crate::handler::{Answer, HandlerError, IntoReturned, Returned};

/// One answer for each message of the batch, in its order: what a handler of single messages may return, for each.
///
/// ```
/// use dotmsg_core::handler::{Batch, Each, HandlerError, Json};
///
/// async fn insert(Batch(rows): Batch<Json<u64>>) -> Each<Result<(), HandlerError>> {
///     let answer = |Json(cents): Json<u64>| match cents {
///         0 => Err(HandlerError::permanent("nothing to bill").kind("empty")),
///         _ => Ok(()),
///     };
///     Each(rows.into_iter().map(answer).collect())
/// }
/// ```
///
/// Another number of answers than messages is a failure of the whole call, transient and of kind `answers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Each<R>(pub Vec<R>);

impl<R> FromIterator<R> for Each<R> {
    fn from_iter<I: IntoIterator<Item = R>>(answers: I) -> Self {
        Self(answers.into_iter().collect())
    }
}

/// A value that a batch handler may return: `()` or a [`Settlement`] for all of them, [`Each`] with one answer for each, or a
/// `Result` of one of these whose error is that of all.
#[diagnostic::on_unimplemented(
    message = "a batch handler cannot return `{Self}`",
    label = "not a batch handler's result",
    note = "return `()` or `Settlement` for the whole batch, `Each<R>` with one answer for each message, or a `Result` of one of these",
    note = "messages to publish belong to a message of the batch: `Each<Outgoing>`, `Each<Vec<Outgoing>>`"
)]
pub trait IntoAnswer {
    /// The answer for `count` messages, or the error of all.
    ///
    /// # Errors
    /// The error it carries, when it is a `Result`.
    fn into_answer(self, count: usize) -> Result<Answer, HandlerError>;
}

impl IntoAnswer for () {
    fn into_answer(self, count: usize) -> Result<Answer, HandlerError> {
        Ok(Answer::all(&Returned::default(), count))
    }
}

impl IntoAnswer for Settlement {
    fn into_answer(self, count: usize) -> Result<Answer, HandlerError> {
        Ok(Answer::all(&self.into(), count))
    }
}

impl<R: IntoReturned> IntoAnswer for Each<R> {
    fn into_answer(self, _: usize) -> Result<Answer, HandlerError> {
        let answers = self.0.into_iter();
        Ok(Answer::each(answers.map(R::into_returned).collect()))
    }
}

impl<T, E> IntoAnswer for Result<T, E>
where
    T: IntoAnswer,
    E: Into<HandlerError>,
{
    fn into_answer(self, count: usize) -> Result<Answer, HandlerError> {
        match self {
            Ok(answer) => answer.into_answer(count),
            Err(error) => Err(error.into()),
        }
    }
}
