//! The error of a handler: a class (transient or permanent), a kind, and the cause.
//!
//! It deliberately does not implement [`std::error::Error`], so that every error type converts into it with `?` (the way
//! of `anyhow`). A converted error is transient until its type is classified ([`ErrorClasses`]) or says its class itself
//! ([`Classify`]).

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::Classify;
use super::classify::Said;
use crate::error::BoxError;

/// Whether trying the message again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// It may: the message walks the retry tiers.
    Transient,
    /// It cannot: the message goes to the dead-letter topic at once.
    Permanent,
}

/// Why a handler failed.
pub struct HandlerError {
    class: ErrorClass,
    /// Said by the handler itself, so the classification by type does not change it.
    explicit: bool,
    /// `None` until somebody names it.
    kind: Option<Cow<'static, str>>,
    source: BoxError,
}

impl HandlerError {
    /// An error that may pass: the message is tried again.
    #[must_use]
    pub fn transient(source: impl Into<BoxError>) -> Self {
        Self::explicit(ErrorClass::Transient, source.into())
    }

    /// An error that will not pass: the message goes to the dead-letter topic at once.
    #[must_use]
    pub fn permanent(source: impl Into<BoxError>) -> Self {
        Self::explicit(ErrorClass::Permanent, source.into())
    }

    fn explicit(class: ErrorClass, source: BoxError) -> Self {
        Self {
            class,
            explicit: true,
            kind: None,
            source,
        }
    }

    /// An error of the class and the kind that it says itself, as if the handler had said them.
    ///
    /// ```
    /// use dotmsg_core::handler::{Classify, HandlerError};
    ///
    /// fn failed<E: Classify + std::error::Error + Send + Sync + 'static>(result: Result<u64, E>) -> Result<u64, HandlerError> {
    ///     result.map_err(HandlerError::classified)
    /// }
    /// ```
    #[must_use]
    pub fn classified(source: impl Classify + Into<BoxError>) -> Self {
        let said = Said::by(&source);
        Self::converted(source.into()).said(said)
    }

    /// As was said, unless the handler said otherwise. From here on the handler has said it.
    #[cold]
    pub(super) fn said(mut self, said: Said) -> Self {
        if !self.explicit {
            self.explicit = true;
            self.apply(said);
        }
        self
    }

    fn apply(&mut self, said: Said) {
        self.class = said.class;
        if self.kind.is_none() {
            self.kind = said.kind.map(Cow::Borrowed);
        }
    }

    fn converted(source: BoxError) -> Self {
        Self {
            class: ErrorClass::Transient,
            explicit: false,
            kind: None,
            source,
        }
    }

    /// Names the kind of failure, a short word such as `no_air_time`; default `handler`.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<Cow<'static, str>>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind_name(&self) -> &str {
        self.kind.as_deref().unwrap_or("handler")
    }

    /// The class.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.class == ErrorClass::Transient
    }

    /// The cause.
    #[must_use]
    pub fn source_ref(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.source
    }

    /// Of a message that was not handled because of another one, and is to wait in its place: not a failure of it.
    pub(crate) fn put_back() -> Self {
        Self::transient(PutBack)
    }

    /// Whether it is [`put_back`](Self::put_back).
    pub(crate) fn is_put_back(&self) -> bool {
        self.source.is::<PutBack>()
    }

    /// The same, to be told of several messages.
    pub(crate) fn share(self) -> SharedError {
        SharedError(Arc::new(self))
    }

    /// The cause and its causes as text, outermost first.
    pub fn chain(&self) -> impl Iterator<Item = String> + '_ {
        let mut next: Option<&(dyn StdError + 'static)> = Some(&*self.source);
        std::iter::from_fn(move || {
            let error = next?;
            next = error.source();
            Some(error.to_string())
        })
    }
}

impl<E> From<E> for HandlerError
where
    E: StdError + Send + Sync + 'static,
{
    fn from(source: E) -> Self {
        Self::converted(Box::new(source))
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {} error: {}",
            self.class,
            self.kind_name(),
            self.source
        )
    }
}

/// The message was put back.
#[derive(Debug)]
struct PutBack;

impl fmt::Display for PutBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it waits for another message")
    }
}

impl StdError for PutBack {}

/// The error of a call with several messages. Each copy of it has its kind and its causes.
#[derive(Clone)]
pub(crate) struct SharedError(Arc<HandlerError>);

impl SharedError {
    /// The error of one of the messages: transient, whatever it is for all of them, because it may be another one's.
    pub(crate) fn copy_that_may_pass(&self) -> HandlerError {
        HandlerError {
            class: ErrorClass::Transient,
            explicit: true,
            kind: self.0.kind.clone(),
            source: Box::new(self.clone()),
        }
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.source, f)
    }
}

impl fmt::Debug for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.source, f)
    }
}

impl StdError for SharedError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.source()
    }
}

/// Classes of errors by type, for errors that reached the handler's result through `?`.
///
/// The first rule that matches the error or one of its causes decides. What the handler classified itself stays.
#[derive(Clone, Debug, Default)]
pub struct ErrorClasses(Vec<Rule>);

#[derive(Clone, Debug)]
enum Rule {
    /// Every error of a type is of one class.
    Is(fn(&(dyn StdError + 'static)) -> bool, ErrorClass),
    /// Every error of a type says its class itself.
    Says(fn(&(dyn StdError + 'static)) -> Option<Said>),
}

impl Rule {
    /// What is said of this error, when it is of the rule's type.
    fn says(&self, error: &(dyn StdError + 'static)) -> Option<Said> {
        match *self {
            Self::Is(matches, class) => matches(error).then_some(Said { class, kind: None }),
            Self::Says(said) => said(error),
        }
    }
}

impl ErrorClasses {
    /// Every error of type `E`, also as a cause, is of this class.
    pub fn add<E: StdError + 'static>(&mut self, class: ErrorClass) {
        self.0.push(Rule::Is(|error| error.is::<E>(), class));
    }

    /// Every error of type `E`, also as a cause, is of the class that it says itself, and of its kind when none was named.
    pub fn ask<E: Classify + StdError + 'static>(&mut self) {
        let said = |error: &(dyn StdError + 'static)| error.downcast_ref::<E>().map(Said::by);
        self.0.push(Rule::Says(said));
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies the rules.
    #[must_use]
    pub fn classify(&self, mut error: HandlerError) -> HandlerError {
        if error.explicit {
            return error;
        }
        let mut next: Option<&(dyn StdError + 'static)> = Some(&*error.source);
        while let Some(cause) = next {
            if let Some(said) = self.0.iter().find_map(|rule| rule.says(cause)) {
                error.apply(said);
                return error;
            }
            next = cause.source();
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;
    use crate::handler::classify::tests::Failure;

    /// An error with a cause.
    #[derive(Debug)]
    struct Above(Failure);

    impl fmt::Display for Above {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("above")
        }
    }

    impl StdError for Above {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    fn failure(is_permanent: bool) -> Failure {
        Failure { is_permanent }
    }

    #[test]
    fn a_type_that_is_asked_says_its_class_also_as_a_cause() {
        let mut classes = ErrorClasses::default();
        classes.ask::<Failure>();
        let classify = |error: HandlerError| {
            let error = classes.classify(error);
            (error.is_transient(), error.kind_name().to_owned())
        };
        let [empty, handler] = ["empty", "handler"].map(str::to_owned);
        assert_eq!(classify(failure(true).into()), (false, empty.clone()));
        assert_eq!(classify(failure(false).into()), (true, handler.clone()));
        assert_eq!(classify(Above(failure(true)).into()), (false, empty));
        let other = HandlerError::from("x".parse::<u8>().unwrap_err());
        assert_eq!(classify(other), (true, handler));
        let named = HandlerError::from(failure(true)).kind("named");
        assert_eq!(classify(named), (false, "named".to_owned()));
    }

    #[test]
    fn the_first_rule_of_a_type_decides() {
        let mut classes = ErrorClasses::default();
        classes.add::<Failure>(ErrorClass::Transient);
        classes.ask::<Failure>();
        assert!(classes.classify(failure(true).into()).is_transient());
    }

    #[test]
    fn a_classified_error_is_said_by_the_handler() {
        let error = HandlerError::classified(failure(true));
        assert_eq!((error.is_transient(), error.kind_name()), (false, "empty"));
        let mut classes = ErrorClasses::default();
        classes.add::<Failure>(ErrorClass::Transient);
        assert!(!classes.classify(error).is_transient());
    }

    #[test]
    fn a_converted_error_is_transient_until_its_type_is_classified() {
        let parse = || HandlerError::from("x".parse::<u8>().unwrap_err());
        assert!(parse().is_transient());
        let mut classes = ErrorClasses::default();
        classes.add::<std::num::ParseIntError>(ErrorClass::Permanent);
        assert!(!classes.classify(parse()).is_transient());
    }

    #[test]
    fn what_the_handler_said_itself_stays() {
        let mut classes = ErrorClasses::default();
        classes.add::<std::num::ParseIntError>(ErrorClass::Permanent);
        let said = HandlerError::transient("x".parse::<u8>().unwrap_err());
        assert!(classes.classify(said).is_transient());
    }
}
