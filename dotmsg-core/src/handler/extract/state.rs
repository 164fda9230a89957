//! The app's shared state, or a part of it.

use std::convert::Infallible;

use crate::delivery::Delivery;
use crate::handler::FromDelivery;

/// A value that is made from the app's state: the state itself (when it can be cloned), or a sub-state.
///
/// A missing sub-state is a compile error. `#[derive(dotmsg::FromRef)]` on the state implements it for the type of every field. The value is made anew for every message, so keep what is large in an `Arc`.
///
/// ```
/// use dotmsg_core::handler::{FromRef, State};
/// use std::sync::Arc;
///
/// struct Rates(Vec<f64>);
///
/// struct AppState {
///     rates: Arc<Rates>,
/// }
///
/// impl FromRef<AppState> for Arc<Rates> {
///     fn from_ref(state: &AppState) -> Self {
///         Arc::clone(&state.rates)
///     }
/// }
///
/// async fn bill(State(rates): State<Arc<Rates>>) {
///     println!("{} rates", rates.0.len());
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "the app's state `{S}` has no `{Self}`",
    label = "`State<{Self}>` is taken by a handler and cannot be made from `{S}`",
    note = "give the app a state of type `{Self}`, or make it a part of `{S}`: a field under `#[derive(FromRef)]`, or `impl FromRef<{S}> for {Self}`"
)]
pub trait FromRef<S> {
    /// Makes the value.
    fn from_ref(state: &S) -> Self;
}

impl<S: Clone> FromRef<S> for S {
    fn from_ref(state: &S) -> Self {
        state.clone()
    }
}

/// The app's state, or a sub-state of it ([`FromRef`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State<T>(pub T);

impl<'d, S, T: FromRef<S>> FromDelivery<'d, S> for State<T> {
    type Rejection = Infallible;

    fn from_delivery(_: &'d Delivery, state: &'d S) -> Result<Self, Infallible> {
        Ok(Self(T::from_ref(state)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::delivery;
    use super::*;
    use crate::message::Message;

    #[derive(Clone, Debug, PartialEq)]
    struct AppState {
        limit: u64,
    }

    #[derive(Debug, PartialEq)]
    struct Limit(u64);

    impl FromRef<AppState> for Limit {
        fn from_ref(state: &AppState) -> Self {
            Self(state.limit)
        }
    }

    #[test]
    fn the_state_and_a_part_of_it() {
        let given = delivery(Message::new("x"));
        let state = AppState { limit: 7 };
        let Ok(State(whole)) = State::<AppState>::from_delivery(&given, &state);
        assert_eq!(whole, state);
        let Ok(State(part)) = State::<Limit>::from_delivery(&given, &state);
        assert_eq!(part, Limit(7));
    }
}
