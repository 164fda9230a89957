//! Errors that say their own class.
//!
//! An error that reaches [`HandlerError`] by `?` is transient, whatever it is: the conversion is for every error type and
//! knows none. A type that implements [`Classify`] knows better, and is asked in three places: by the attribute, of what
//! an annotated function returns; by [`HandlerError::classified`]; and by [`ErrorClasses::ask`], of every error that came by
//! `?`.
//!
//! The attribute does not know types, so it asks by a method call that the compiler resolves ([`ClassOf`]).

use std::ops::Deref;
use std::sync::Arc;

use super::{ErrorClass, HandlerError};

#[cfg(doc)]
use super::ErrorClasses;

/// An error that says its own class, and perhaps its kind. Usually derived: `#[derive(dotmsg::Classify)]`.
///
/// It takes effect
///
/// - when a function under `#[dotmsg::handler]` returns a `Result<_, E>` with this type as `E`;
/// - through [`HandlerError::classified`], for `map_err`;
/// - when the app was told of the type (`App::classify::<E>()`), wherever `?` turns it, or an error that it is a cause of,
///   into a [`HandlerError`].
///
/// A handler without the attribute has the last two only. What a handler says itself, by [`HandlerError::transient`] or
/// [`HandlerError::permanent`], stays.
///
/// ```
/// use dotmsg_core::handler::{Classify, ErrorClass, HandlerError};
///
/// #[derive(Debug)]
/// struct NoRate;
///
/// impl Classify for NoRate {
///     fn class(&self) -> ErrorClass {
///         ErrorClass::Permanent
///     }
///
///     fn kind(&self) -> Option<&'static str> {
///         Some("no_rate")
///     }
/// }
/// # impl std::fmt::Display for NoRate {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
/// #         f.write_str("there is no rate")
/// #     }
/// # }
/// # impl std::error::Error for NoRate {}
///
/// let error = HandlerError::classified(NoRate);
/// assert_eq!((error.class(), error.kind_name()), (ErrorClass::Permanent, "no_rate"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say its class",
    label = "`Classify` is not implemented for it",
    note = "put `#[derive(dotmsg::Classify)]` on `{Self}`",
    note = "of a type of another crate, say the class where it is used: `#[classify(transient)]` or `#[classify(permanent)]` on a variant, `App::permanent::<{Self}>()` for the app"
)]
pub trait Classify {
    /// Whether trying the message again may help.
    fn class(&self) -> ErrorClass;

    /// The kind of failure, a short word such as `no_air_time`. Default: none, which leaves it at `handler`.
    fn kind(&self) -> Option<&'static str> {
        None
    }
}

impl<E: Classify + ?Sized> Classify for Box<E> {
    fn class(&self) -> ErrorClass {
        (**self).class()
    }

    fn kind(&self) -> Option<&'static str> {
        (**self).kind()
    }
}

impl<E: Classify + ?Sized> Classify for Arc<E> {
    fn class(&self) -> ErrorClass {
        (**self).class()
    }

    fn kind(&self) -> Option<&'static str> {
        (**self).kind()
    }
}

/// What was said of an error.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Said {
    pub(super) class: ErrorClass,
    pub(super) kind: Option<&'static str>,
}

impl Said {
    /// What the error says of itself.
    pub(super) fn by(error: &(impl Classify + ?Sized)) -> Self {
        Self {
            class: error.class(),
            kind: error.kind(),
        }
    }

    /// The result, with its error as was said.
    #[inline]
    pub fn put<T>(said: Option<Self>, result: Result<T, HandlerError>) -> Result<T, HandlerError> {
        // By value: with a reference to the error, the compiler would make the result elsewhere first and copy it.
        match said {
            Some(said) => result.map_err(|error| error.said(said)),
            None => result,
        }
    }
}

/// A function's return value, to be asked what its error says of itself: nothing, unless it is a `Result` with an error
/// that is [`Classify`].
///
/// `ClassOf(&returned).said()` finds the method of this type when the error is [`Classify`], and that of [`SaysNothing`]
/// through `Deref` when not. There is no bound that could fail: what a handler may not return is said by
/// [`IntoReturned`](super::IntoReturned) alone.
#[doc(hidden)]
#[derive(Debug)]
pub struct ClassOf<'a, R>(pub &'a R);

impl<T, E: Classify> ClassOf<'_, Result<T, E>> {
    /// What the error says of itself.
    #[inline]
    #[must_use]
    pub fn said(&self) -> Option<Said> {
        match self.0 {
            Ok(_) => None,
            Err(error) => Some(Said::by(error)),
        }
    }
}

impl<R> Deref for ClassOf<'_, R> {
    type Target = SaysNothing;

    #[inline]
    fn deref(&self) -> &SaysNothing {
        &SaysNothing
    }
}

/// What other return values say.
#[doc(hidden)]
#[derive(Debug)]
pub struct SaysNothing;

impl SaysNothing {
    /// Nothing.
    #[inline]
    #[must_use]
    pub fn said(&self) -> Option<Said> {
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::error::Error as StdError;
    use std::fmt;

    use super::*;
    use crate::handler::{HandlerError, IntoReturned};

    /// Permanent and `empty`, or transient.
    #[derive(Debug)]
    pub(in crate::handler) struct Failure {
        pub(in crate::handler) is_permanent: bool,
    }

    impl fmt::Display for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("it failed")
        }
    }

    impl StdError for Failure {}

    impl Classify for Failure {
        fn class(&self) -> ErrorClass {
            match self.is_permanent {
                true => ErrorClass::Permanent,
                false => ErrorClass::Transient,
            }
        }

        fn kind(&self) -> Option<&'static str> {
            self.is_permanent.then_some("empty")
        }
    }

    /// As the attribute does it.
    macro_rules! settle {
        ($returned:expr) => {{
            let returned = $returned;
            let said = ClassOf(&returned).said();
            Said::put(said, returned.into_returned())
        }};
    }

    #[test]
    fn a_returned_error_says_its_class() {
        let empty = Failure { is_permanent: true };
        let error = settle!(Err::<(), _>(empty)).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Permanent);
        assert_eq!(error.kind_name(), "empty");
        let other = Failure {
            is_permanent: false,
        };
        let error = settle!(Err::<(), _>(Box::new(other))).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Transient);
        assert_eq!(error.kind_name(), "handler");
    }

    #[test]
    fn other_return_values_say_nothing() {
        assert!(settle!(()).is_ok());
        assert!(settle!(Ok::<(), Failure>(())).is_ok());
        let parse = settle!("x".parse::<u8>().map(drop)).unwrap_err();
        assert_eq!((parse.kind_name(), parse.is_transient()), ("handler", true));
        let said = HandlerError::permanent("no").kind("no");
        let said = settle!(Err::<(), _>(said)).unwrap_err();
        assert_eq!((said.kind_name(), said.is_transient()), ("no", false));
    }

    /// Converts as its author wants it, although it says otherwise.
    struct Stubborn;

    impl Classify for Stubborn {
        fn class(&self) -> ErrorClass {
            ErrorClass::Transient
        }
    }

    impl From<Stubborn> for HandlerError {
        fn from(_: Stubborn) -> Self {
            Self::permanent("no")
        }
    }

    #[test]
    fn what_a_conversion_says_stays() {
        let error = settle!(Err::<(), _>(Stubborn)).unwrap_err();
        assert!(!error.is_transient());
    }
}
