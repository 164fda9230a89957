//! One handler, any broker, the same guarantees.

use dotmsg_core::backend::Registry;
use dotmsg_core::log::{MemoryLogs, log_factory, memory_factory};

pub use dotmsg_core::backend;
pub use dotmsg_core::clock;
pub use dotmsg_core::config::{self, Config};
pub use dotmsg_core::delivery::{self, Delivery, Settlement};
pub use dotmsg_core::error::{Error, ErrorKind, Result};
pub use dotmsg_core::handler::extract::{Attempt, FromRef, Json, Key, MessageId, Origin, State};
pub use dotmsg_core::handler::{self, HandlerError, Outgoing};
pub use dotmsg_core::message::{self, Message};
pub use dotmsg_core::{app, log, middleware, progress, router, runtime};

/// Makes a message handler of an async function.
///
/// ```
/// use dotmsg::handler::{HandlerError, Json, Key};
///
/// #[derive(serde::Deserialize)]
/// struct Order<'d> {
///     item: &'d str,
///     count: u32,
/// }
///
/// #[dotmsg::handler(topic = "orders", group = "billing", retry(tiers = ["5s", "1m"]))]
/// async fn bill(Key(customer): Key<u64>, Json(order): Json<Order<'_>>) -> Result<(), HandlerError> {
///     if order.count == 0 {
///         return Err(HandlerError::permanent("nothing ordered").kind("empty"));
///     }
///     println!("customer {customer}: {} x {}", order.count, order.item);
///     Ok(())
/// }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// // A unit test calls it as it is.
/// let none = Order { item: "chair", count: 0 };
/// assert_eq!(bill(Key(7), Json(none)).await.unwrap_err().kind_name(), "empty");
/// # });
/// ```
///
/// It needs no newer edition than 2021:
///
/// ```edition2021
/// use dotmsg::handler::{Annotated, Handler, Json, Origin};
/// use dotmsg::delivery::Position;
///
/// #[dotmsg::handler(topic = "orders", group = "billing")]
/// async fn bill<'d>(Origin(at): Origin<Position<'d>>, name: &dotmsg::message::Headers, Json(order): Json<&'d str>) {
///     println!("{at} {name:?} {order}");
/// }
///
/// fn is_handler<T>(_: impl Handler<T, ()>) {}
/// is_handler(bill.into_handler());
/// ```
pub use dotmsg_macros::handler;

/// What generated code refers to. Not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use dotmsg_core as core;
}

/// The adapters of the features that are on.
#[derive(Clone, Copy, Debug)]
pub struct FeatureAdapters;

impl app::Adapters for FeatureAdapters {
    fn registry() -> Registry {
        let mut registry = Registry::new();
        registry.register("memory", memory_factory(MemoryLogs::new()));
        registry.register("log", log_factory());
        for (scheme, feature) in [
            ("kafka", "kafka"),
            ("amqp", "amqp"),
            ("nats", "nats"),
            ("postgres", "postgres"),
        ] {
            registry.needs_feature(scheme, feature);
        }
        registry
    }
}

/// An app with the adapters of the features that are on; see [`app::App`].
pub type App<S = ()> = app::App<S, FeatureAdapters>;
