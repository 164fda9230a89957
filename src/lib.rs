//! One handler, any broker, the same guarantees.

use dotmsg_core::backend::Registry;
use dotmsg_core::log::{MemoryLogs, log_factory, memory_factory};

pub use dotmsg_core::backend;
pub use dotmsg_core::clock;
pub use dotmsg_core::config::{self, Config};
pub use dotmsg_core::delivery::{self, Delivery, Settlement};
pub use dotmsg_core::error::{Error, ErrorKind, Result};
pub use dotmsg_core::handler::{self, HandlerError, Outgoing};
pub use dotmsg_core::message::{self, Message};
pub use dotmsg_core::{app, log, middleware, router, runtime};

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
