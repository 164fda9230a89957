//! What an app gives to all deliveries of a route.
//!
//! An extractor may want what is neither in the message nor in the app's state. It is found here by its type, because the
//! modules that such types are of stand above this one. It is set once per stream: a delivery that nobody asks costs nothing.

use std::any::Any;
use std::fmt;

/// Values by their types; at most one of each.
///
/// ```
/// use dotmsg_core::delivery::Provided;
///
/// let provided = Provided::new().with(7_u64).with("a region");
/// assert_eq!(provided.get::<u64>(), Some(&7));
/// assert_eq!(provided.get::<bool>(), None);
/// ```
#[derive(Default)]
pub struct Provided(Vec<Box<dyn Any + Send + Sync>>);

impl Provided {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with this value, in place of one of its type.
    #[must_use]
    pub fn with<T: Any + Send + Sync>(mut self, value: T) -> Self {
        self.0.retain(|other| !other.is::<T>());
        self.0.push(Box::new(value));
        self
    }

    /// The value of this type.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        // There are a few at most.
        self.0.iter().find_map(|value| value.downcast_ref())
    }
}

impl fmt::Debug for Provided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Provided").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_of_a_type() {
        let provided = Provided::new().with(1_u8).with(2_u8);
        assert_eq!(provided.get::<u8>(), Some(&2));
        assert_eq!(format!("{provided:?}"), "Provided(1)");
    }
}
