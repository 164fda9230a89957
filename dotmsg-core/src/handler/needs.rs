//! What an argument asks of the route that its handler runs in.
//!
//! Some extractors are at odds with a setting of the route. Each says so as a constant, a handler's is the sum of its
//! arguments', and the app compares it with the configuration before anything runs: not the first message finds out.

/// What an extractor, or a handler by its arguments, asks of its route.
///
/// ```
/// use dotmsg_core::handler::{FromDelivery, Needs};
/// use dotmsg_core::publisher::Publisher;
///
/// const PUBLISHES: Needs = <Publisher as FromDelivery<'_, ()>>::NEEDS;
/// assert!(Needs::NONE.and(PUBLISHES).publisher);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// It publishes at once ([`Publisher`](crate::publisher::Publisher)): no transaction may be around the call.
    pub publisher: bool,
}

impl Needs {
    /// Nothing: it works in any route.
    pub const NONE: Self = Self { publisher: false };

    /// It publishes at once.
    pub const PUBLISHER: Self = Self { publisher: true };

    /// All that the two ask for.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            publisher: self.publisher || other.publisher,
        }
    }
}
