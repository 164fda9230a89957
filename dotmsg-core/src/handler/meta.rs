//! What `#[dotmsg::handler(…)]` says about a handler.
//!
//! Values are kept as they were written and are `const`: the attribute has checked that each parses, and config
//! validation reads them again like any other source of configuration, with the place "attribute of handler …". `None`
//! means not said: the config file or the default decides.

/// Subscription and rules of one annotated handler.
///
/// ```
/// use dotmsg_core::handler::HandlerMeta;
///
/// const BILL: HandlerMeta = {
///     let mut meta = HandlerMeta::new("bill", "orders");
///     meta.group = Some("billing");
///     meta
/// };
/// assert_eq!(BILL.group, Some("billing"));
/// assert_eq!(BILL.timeout, None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerMeta {
    /// The route's name in the config: the function's, unless the attribute says another.
    pub name: &'static str,
    /// The topic as the app names it (without the backend's prefix).
    pub topic: &'static str,
    /// The consumer group. When it is not said here, the config must name it.
    pub group: Option<&'static str>,
    /// The backend's name in the config.
    pub backend: Option<&'static str>,
    /// Handlers running at once, at least 1.
    pub concurrency: Option<usize>,
    /// `key`, `partition` or `none`.
    pub ordering: Option<&'static str>,
    /// Time limit of one call, a duration such as `30s`.
    pub timeout: Option<&'static str>,
    /// `at_most_once`, `at_least_once` or `exactly_once`.
    pub delivery: Option<&'static str>,
    /// Where a new group starts: `earliest` or `latest`.
    pub start: Option<&'static str>,
    /// The retry policy.
    pub retry: RetryMeta,
    /// It takes a `Batch<T>`, and this is what its attribute says of it.
    pub batch: Option<BatchMeta>,
}

/// How batches are formed, as the attribute says it.
///
/// ```
/// assert_eq!(dotmsg_core::handler::BatchMeta::NONE.size, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchMeta {
    /// Messages in a batch at most, at least 1.
    pub size: Option<usize>,
    /// How long the first message of a batch waits for more, a duration such as `50ms`.
    pub linger: Option<&'static str>,
}

impl BatchMeta {
    /// Nothing said.
    pub const NONE: Self = Self {
        size: None,
        linger: None,
    };
}

/// The retry policy as the attribute says it.
///
/// ```
/// assert_eq!(dotmsg_core::handler::RetryMeta::NONE.tiers, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryMeta {
    /// Delays of the tiers, strictly ascending durations such as `5s`.
    pub tiers: Option<&'static [&'static str]>,
    /// `keep` or `relax`.
    pub order: Option<&'static str>,
    /// Calls of the handler in a row before a tier or the dead letter, at least 1.
    pub attempts: Option<u32>,
}

impl RetryMeta {
    /// Nothing said.
    pub const NONE: Self = Self {
        tiers: None,
        order: None,
        attempts: None,
    };
}

impl HandlerMeta {
    /// A handler of this name on this topic, with nothing else said.
    #[must_use]
    pub const fn new(name: &'static str, topic: &'static str) -> Self {
        Self {
            name,
            topic,
            group: None,
            backend: None,
            concurrency: None,
            ordering: None,
            timeout: None,
            delivery: None,
            start: None,
            retry: RetryMeta::NONE,
            batch: None,
        }
    }
}
