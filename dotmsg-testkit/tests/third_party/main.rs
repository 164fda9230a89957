//! A third-party adapter under the suite: this file is all that it takes.
//!
//! The broker (`broker.rs`) is as small as one can be: everything in memory under one lock, one member per group. It is tested
//! in three strengths, as three adapters would be: it declares nothing; position records without order; order and position
//! records of Kafka's size. What a strength denies is tested to be refused.

mod broker;

use std::sync::Arc;

use dotmsg_core::backend::{Backend, Capability, History, KeyOrder, PositionStore};
use dotmsg_core::error::Result;
use dotmsg_testkit::{Connection, Fixture, Purpose};

use self::broker::TinyBroker;

/// What a fixture declares, as a type, because [`Fixture::start`] has no argument for it.
trait Strength: Send + Sync + 'static {
    fn capability() -> Capability;
}

struct Tiny<S> {
    backend: Arc<dyn Backend>,
    strength: std::marker::PhantomData<S>,
}

impl<S: Strength> Fixture for Tiny<S> {
    async fn start(_: Purpose) -> Self {
        Self {
            backend: Arc::new(TinyBroker::new(S::capability())),
            strength: std::marker::PhantomData,
        }
    }

    fn minimum(&self) -> Capability {
        S::capability()
    }

    async fn connect(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Connection::to(&self.backend)))
    }
}

struct Nothing;

impl Strength for Nothing {
    fn capability() -> Capability {
        Capability::minimal()
    }
}

struct Unordered;

impl Strength for Unordered {
    fn capability() -> Capability {
        let mut capability = Capability::minimal();
        capability.position = PositionStore::Record {
            max_bytes: 64 << 10,
        };
        capability.history = History::Retained;
        capability
    }
}

struct Ordered;

impl Strength for Ordered {
    fn capability() -> Capability {
        let mut capability = Unordered::capability();
        capability.key_order = KeyOrder::Log;
        capability.position = PositionStore::Record { max_bytes: 4_096 };
        capability.max_record_bytes = 256 << 10;
        capability
    }
}

mod declares_nothing {
    use super::{Nothing, Tiny};

    dotmsg_testkit::conformance!(Tiny<Nothing>);
}

mod unordered {
    use super::{Tiny, Unordered};

    dotmsg_testkit::conformance!(Tiny<Unordered>);
}

mod ordered {
    use super::{Ordered, Tiny};

    dotmsg_testkit::conformance!(Tiny<Ordered>);
}
