//! One handler, any broker, the same guarantees.
//!
//! A service author writes an annotated async function; a config file says which broker its messages come from. What a backend
//! cannot keep of what is asked for is refused at start-up, with the reason.
//!
//! ```no_run
//! use dotmsg::{App, HandlerError, Json, Key};
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
//! #[tokio::main]
//! async fn main() -> dotmsg::Result<()> {
//!     App::from_config("dotmsg.toml")?.handler(bill).run().await?; // until SIGTERM or SIGINT
//!     Ok(())
//! }
//! ```
//!
//! # The contract
//!
//! | | |
//! |---|---|
//! | Handler | an async function under [`#[handler]`](macro@handler), which stays callable as it is; methods of a value ([`handlers`]); one without the attribute ([`App::route`](app::App::route)) |
//! | Arguments | parts in any order, the payload last: [`Json`], [`Bytes`], `Option` of these, an enum under [`FromPayload`], [`Batch`]; [`Key`], [`&Headers`](message::Headers), [`MessageId`], [`Attempt`], [`Origin`], [`State`], [`Publisher`], [`&Delivery`](Delivery): [all](mod@handler#arguments) |
//! | Cannot be extracted | a dead letter at once, neither dropped nor tried again; `Result<T, T::Rejection>` leaves it to the handler |
//! | Return values | `()`; messages to publish ([`Outgoing`], several of it); a [`Settlement`]; a `Result` of these: [all](mod@handler#return-values) |
//! | Errors | [`HandlerError::transient`]: tried again; [`permanent`](HandlerError::permanent): a dead letter at once; by type: [`Classify`], [`App::permanent`](app::App::permanent); any other, a panic and a timeout: transient: [all](mod@handler#errors) |
//! | Settlement | after the handler has returned, and what it returned is confirmed; or after its dead letter is confirmed |
//! | Progress | committed within `commit_interval` (200 ms); after a crash, what was not committed runs again: make effects idempotent by [`MessageId`] |
//! | Order | messages of a key one at a time, in log order, retries included; up to `concurrency` (256) keys at once: `ordering = "key"`, `"partition"`, `"none"` |
//! | Retries | `attempts` in place (3 in a row; 1 with tiers), then `tiers`, each a topic with a delay, then the dead letter; a failing message delays its own key only |
//! | Dead letters | `<topic>.<group>.dlq`, with origin and failure; [listed and replayed](replay), to this group only, each once |
//! | Delivery | `at_least_once`; `at_most_once`; `exactly_once` for returned messages, on Kafka |
//! | Limits | `concurrency`, `max_held_messages`, `max_held_bytes`, `timeout`; shared ones and a circuit breaker: at a limit the source pauses |
//! | Stop | nothing new, running handlers have `drain_timeout`, commit, release; [`AppReport`](app::AppReport) says what was given up |
//! | Configuration | attribute, then TOML, its profile, the environment (`DOTMSG__BACKEND__MAIN__URL`); all mistakes at once, with place and nearest name: [`config`] |
//! | Backends | `memory:` and `log:./path`, embedded; `kafka://` with the feature `kafka`. RabbitMQ, NATS and Postgres are planned and refused by name |
//! | Telemetry | counters, lag and health at any time ([`AppHandle`](app::AppHandle)); `[telemetry.http]` serves them, feature `http`; traces for OpenTelemetry ([`App::tracer`](app::App::tracer), feature `otel`) |
//! | Tests | a handler is called as the function that it is; whole apps in virtual time: `dotmsg::testing` (feature `testing`); from seeds, on a broker that misbehaves: `dotmsg::sim` (feature `sim`) |
//! | Features | none by default, and then no C code. `kafka` builds librdkafka and links the system's OpenSSL; `http` is the endpoint for metrics and health; `otel` makes traces for OpenTelemetry; `testing` and `sim` are for dev-dependencies |
//!
//! A first look without any file: [`App::memory`](app::App::memory) and [`App::run_on`](app::App::run_on). Pages to read on, from a
//! tutorial to each promise and its limits, are listed in `docs/README.md` of the repository.

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
pub use dotmsg_core::{
    app, lag, log, metrics, middleware, progress, replay, reset, router, runtime, trace,
};
#[cfg(feature = "http")]
pub use dotmsg_http as http;
#[cfg(feature = "kafka")]
pub use dotmsg_kafka::kafka_capability;
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

    #[cfg(feature = "http")]
    fn http() -> Option<app::ServeHttp> {
        Some(dotmsg_http::serve_http)
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
    #[cfg(feature = "otel")]
    #[doc = include_str!("../docs/telemetry.md")]
    mod telemetry {}
    #[doc = include_str!("../docs/concepts.md")]
    mod concepts {}
    #[doc = include_str!("../docs/retry-and-order.md")]
    mod retry_and_order {}
    #[doc = include_str!("../docs/configuration.md")]
    mod configuration {}
}
