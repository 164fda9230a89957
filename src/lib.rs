//! One handler, any broker, the same guarantees.
//!
//! A service author writes an annotated async function; a config file says which broker its messages come from. The
//! runtime keeps the order of each key, runs different keys at once, retries without blocking other keys, writes dead
//! letters, and commits progress. A backend that cannot keep what the configuration asks for refuses at start-up and says
//! why. Two backends are embedded: `memory:` and `log:./path`. Kafka (`kafka://`) is behind the feature `kafka`. RabbitMQ, NATS
//! and Postgres are planned; their URLs are refused by name.
//!
//! ```
//! use dotmsg::{App, Config, HandlerError, Json, Key, Message};
//!
//! #[derive(serde::Deserialize)]
//! struct Order {
//!     item: String,
//!     count: u32,
//! }
//!
//! #[dotmsg::handler(topic = "orders", group = "billing", retry(tiers = ["5s", "1m"]))]
//! async fn bill(Key(customer): Key<u64>, Json(order): Json<Order>) -> Result<(), HandlerError> {
//!     if order.count == 0 {
//!         return Err(HandlerError::permanent("nothing ordered").kind("empty"));
//!     }
//!     println!("customer {customer}: {} x {}", order.count, order.item);
//!     Ok(())
//! }
//!
//! # fn main() -> dotmsg::Result<()> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let config = Config::from_toml("dotmsg.toml", "[backend.main]\nurl = 'memory:'\nauto_create = true")?;
//! let running = App::with_config(config).handler(bill).start().await?;
//! let app = running.handle();
//! let publisher = app.publisher("main").expect("the configuration names it");
//! for (item, count) in [("chair", 2), ("table", 0)] {
//!     let payload = format!(r#"{{"item":"{item}","count":{count}}}"#);
//!     publisher.publish("orders", Message::new(payload).with_key("7")).await?;
//! }
//! app.idle().await; // nothing is left to do
//!
//! let stats = &app.route("bill").expect("it was added").stats;
//! assert_eq!((stats.handled(), stats.dead_lettered()), (1, 1));
//! app.drain();
//! running.wait().await?;
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! A service that runs until SIGTERM or SIGINT is
//! `App::from_config("dotmsg.toml")?.state(state).handler(bill).run().await`.
//!
//! Handlers that share a database pool or a client may be methods of a value that holds it: [`handlers`].
//!
//! # Arguments
//!
//! Up to twelve: parts in any order, at most one payload, last. Under the attribute they may borrow from the delivery.
//!
//! | Argument | Gives | When it cannot be had |
//! |---|---|---|
//! | [`Json<T>`](Json) | the payload, decoded | dead letter of kind `decode` or `null_payload` |
//! | `Bytes`, `&[u8]` | the payload as it is | `null_payload` |
//! | `Option` of one of these | `None` for a null payload (a tombstone) | `decode` |
//! | an enum under `#[derive(`[`FromPayload`]`)]` | one of several payloads, by a name in a header or a field of the JSON | `unknown_type`, and those of its variants |
//! | [`Key<T>`](Key) | the key as text, bytes or a number; `Key<Option<T>>` when it may be null | `key`, `null_key` |
//! | [`&Headers`](message::Headers) | all headers | |
//! | [`Position<'_>`](delivery::Position) | where the record in hand lies | |
//! | [`Origin`] | where the message was first read | |
//! | [`Attempt`] | which call this is for this message, from 1 | |
//! | [`MessageId`] | header `dotmsg-id`, else `topic/partition/offset` of the origin | |
//! | [`Timestamp`](clock::Timestamp) | when the producer made it | |
//! | [`Publisher`] | publishes to the route's backend at once | dead letter of kind `publisher` (in tests); refused under `exactly_once` |
//! | [`State<T>`](State) | the app's state or a part of it ([`FromRef`], which can be derived) | compile error |
//! | [`&Delivery`](Delivery) | everything | |
//! | [`Batch<T>`](Batch) | many messages at once, last: `docs/batches.md` | each as it would alone |
//! | `Result<T, T::Rejection>` of any of these | the rejection, such as [`JsonRejection`](handler::JsonRejection) | given to the handler |
//!
//! Types of your own implement [`FromDelivery`](handler::FromDelivery) (a part) or [`FromPayload`].
//! A message that cannot be extracted goes to the dead-letter topic at once: it is neither dropped nor tried again.
//!
//! # Return values
//!
//! | Value | What happens |
//! |---|---|
//! | `()` | settled |
//! | [`Outgoing`], `Option`, `Vec`, array or pair of it | published and confirmed, then settled; ids derive from the parent's |
//! | [`Settlement`] | `Ack`, `Retry`, `DeadLetter` or `Discard`, as it says |
//! | `(Vec<Outgoing>, Settlement)` | published and confirmed, then as it says |
//! | `Result<_, E>` | one of these, or an error: see below |
//!
//! # Errors
//!
//! | Error | What happens |
//! |---|---|
//! | [`HandlerError::transient`] | tried again: in place, then in the tiers, then the dead letter |
//! | [`HandlerError::permanent`] | dead letter at once |
//! | an error whose type says its class ([`Classify`], which can be derived) | as it says: returned by a function under the attribute, by [`HandlerError::classified`], or by `?` when [`App::classify`](app::App::classify) names its type |
//! | any other error, by `?` | transient, unless [`App::permanent`](app::App::permanent) names its type |
//! | a panic | transient, kind `panic` |
//! | longer than `timeout` | transient, kind `timeout`; the future is dropped |
//!
//! A failing message delays its own key only: its followers wait until it is settled (`order = "keep"`) or go on
//! (`order = "relax"`).
//!
//! # Configuration
//!
//! TOML, then the environment (`DOTMSG__BACKEND__MAIN__URL`); anything that the attribute says may be overridden in
//! `[routes.<handler>]`. `docs/reference.toml` has every key with its default. All mistakes are reported at once, each
//! with key, place and the nearest valid name; nothing starts then. See [`config`].
//!
//! # Testing
//!
//! A handler is a plain async function: a unit test calls it with its arguments. A test of the whole app uses
//! `dotmsg::testing` (feature `testing`): memory brokers and virtual time, so that a ladder of minutes takes milliseconds.
//! `dotmsg::sim` (feature `sim`) runs it as several members on a broker that misbehaves, from a seed.
//!
//! # Features
//!
//! None is on by default, and without them there is no C code. `kafka`: the Kafka adapter, which builds librdkafka from its
//! source and links the system's OpenSSL. `testing`: the harness, and `sim`: the simulation, both for dev-dependencies.
//!
//! # Where to read on
//!
//! `docs/quick-start.md`, `docs/concepts.md`, `docs/retry-and-order.md` and `docs/configuration.md` in the repository; how
//! it is built: `ARCHITECTURE.md`.

pub mod handler;

use dotmsg_core::backend::Registry;
use dotmsg_core::log::{MemoryLogs, check_setting, log_factory, memory_factory, setting_list};

pub use dotmsg_core::Bytes;
pub use dotmsg_core::backend;
pub use dotmsg_core::clock;
pub use dotmsg_core::config::{self, Config};
pub use dotmsg_core::delivery::{self, Delivery, Settlement};
pub use dotmsg_core::error::{Error, ErrorKind, Result};
pub use dotmsg_core::message::{self, Message};
pub use dotmsg_core::publisher::Publisher;
#[cfg(feature = "sim")]
pub use dotmsg_core::sim;
#[cfg(feature = "testing")]
pub use dotmsg_core::testing;
pub use dotmsg_core::{app, lag, log, middleware, progress, replay, reset, router, runtime, trace};
#[cfg(feature = "otel")]
pub use dotmsg_otel as otel;
pub use handler::{
    Attempt, Batch, Classify, Each, FromPayload, FromRef, HandlerError, Json, Key, MessageId,
    Origin, Outgoing, State,
};

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

/// Makes message handlers of methods, for a value that holds what they depend on.
///
/// ```
/// use dotmsg::{App, Config, HandlerError, Json, Key};
///
/// struct Billing {
///     per_cent: u64,
/// }
///
/// #[dotmsg::handlers]
/// impl Billing {
///     #[handler(topic = "orders", group = "billing", retry(tiers = ["5s"]))]
///     async fn bill(&self, Key(customer): Key<u64>, Json(cents): Json<u64>) -> Result<(), HandlerError> {
///         println!("customer {customer}: {}", self.with_tax(cents)?);
///         Ok(())
///     }
///
///     #[handler(topic = "refunds", group = "billing", name = "pay-back")]
///     async fn refund(&self, Json(cents): Json<u64>) {
///         println!("{cents} back");
///     }
///
///     // Not a handler: it stays as it is.
///     fn with_tax(&self, cents: u64) -> Result<u64, HandlerError> {
///         cents
///             .checked_mul(100 + self.per_cent)
///             .map(|all| all / 100)
///             .ok_or_else(|| HandlerError::permanent("too much").kind("amount"))
///     }
/// }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// // A unit test calls a method as it is.
/// let billing = Billing { per_cent: 19 };
/// assert!(billing.bill(Key(7), Json(100)).await.is_ok());
/// assert!(billing.bill(Key(7), Json(u64::MAX)).await.is_err());
/// # });
///
/// let app: App = App::with_config(Config::new()).handlers(Billing { per_cent: 19 });
/// ```
pub use dotmsg_macros::handlers;

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
        registry.check_settings("memory", check_setting);
        registry.check_settings("log", check_setting);
        registry.list_settings("memory", setting_list());
        registry.list_settings("log", setting_list());
        kafka(&mut registry);
        for scheme in ["amqp", "nats", "postgres"] {
            registry.planned(scheme);
        }
        registry
    }
}

#[cfg(feature = "kafka")]
fn kafka(registry: &mut Registry) {
    registry.register("kafka", dotmsg_kafka::kafka_factory());
    registry.check_settings("kafka", dotmsg_kafka::kafka_check_setting);
    registry.list_settings("kafka", dotmsg_kafka::kafka_setting_list());
}

#[cfg(not(feature = "kafka"))]
fn kafka(registry: &mut Registry) {
    registry.needs_feature("kafka", "kafka");
}

/// An app with the adapters of the features that are on; see [`app::App`].
pub type App<S = ()> = app::App<S, FeatureAdapters>;

/// The Markdown of the repository, compiled: a snippet that does not work is a failing test.
#[cfg(doctest)]
mod docs {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[cfg(feature = "testing")]
    #[doc = include_str!("../docs/quick-start.md")]
    mod quick_start {}
    #[cfg(feature = "sim")]
    #[doc = include_str!("../docs/testing.md")]
    mod testing {}
    #[doc = include_str!("../docs/guarantees.md")]
    mod guarantees {}
    #[doc = include_str!("../docs/service.md")]
    mod service {}
    #[cfg(feature = "testing")]
    #[doc = include_str!("../docs/batches.md")]
    mod batches {}
    #[cfg(feature = "testing")]
    #[doc = include_str!("../docs/duplicates-and-shedding.md")]
    mod duplicates_and_shedding {}
    #[doc = include_str!("../docs/lag.md")]
    mod lag {}
    #[doc = include_str!("../docs/concepts.md")]
    mod concepts {}
    #[doc = include_str!("../docs/retry-and-order.md")]
    mod retry_and_order {}
    #[doc = include_str!("../docs/configuration.md")]
    mod configuration {}
}
