//! Settlement: how a delivery ends.

/// How the handler wants a delivery to end. Errors end as their class and the route's retry policy say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Settlement {
    /// Done; progress may pass it.
    #[default]
    Ack,
    /// Not now: as a transient failure with this reason.
    Retry {
        /// Why, for logs and the failure headers.
        reason: String,
    },
    /// Never: to the dead-letter topic, at once.
    DeadLetter {
        /// The kind of failure, a short word such as `no_air_time`.
        kind: String,
        /// Why, for logs and the failure headers.
        reason: String,
    },
    /// Done, on purpose without effect.
    Discard,
}
