//! What the suite needs of a backend under test.
//!
//! The trait is what an adapter implements; inside, the suite talks to [`Broker`], the same without type parameters, so that
//! a case is an ordinary function.

use std::future::Future;
use std::sync::Arc;

use dotmsg_core::backend::{Backend, BoxFuture, Capability};
use dotmsg_core::error::Result;

/// What a started broker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// All cases share it, side by side, under topics and groups of their own.
    Shared,
    /// One case has it alone, and may restart it. Starting it may wait until another case is through with it, and has dropped
    /// its fixture.
    Alone,
}

/// Which of two members with one instance id stays in the group; the other one ends as
/// [`Fenced`](dotmsg_core::error::ErrorKind::Fenced).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// The one that joined last, as in Kafka's classic protocol (KIP-345).
    Later,
    /// The one that was there, as in Kafka's new protocol (KIP-848).
    Earlier,
}

/// A broker under test.
///
/// One is started per test process for all cases, and one more for each case that restarts its broker. All calls come from
/// one multi-threaded tokio runtime that lives as long as the process; the fixture that all share is never dropped, so what it
/// starts outside of the process must end on its own or outlive the tests anyway.
pub trait Fixture: Send + Sync + Sized + 'static {
    /// Why there is no broker to test here; `None` when there is one, which is the default. That is then said on standard
    /// error, once, and each case passes, so that who has no server can still run the rest.
    #[must_use]
    fn absent() -> Option<String> {
        None
    }

    /// Starts the broker, or finds it; panics when it cannot.
    fn start(purpose: Purpose) -> impl Future<Output = Self> + Send;

    /// The least that this backend must declare. Pinned here, so that a case cannot get lost when a declaration shrinks. The
    /// sizes too: `usize::MAX`, which [`Capability::minimal`] has for the largest record, is the most and not the least.
    fn minimum(&self) -> Capability;

    /// Opens a connection, as one more process would. Closing it must leave the others as they are; for a backend that lives
    /// in this process there is [`Connection`](crate::Connection).
    fn connect(&self) -> impl Future<Output = Result<Arc<dyn Backend>>> + Send;

    /// What the group does about an instance id that is there twice.
    fn stays(&self) -> Stays {
        Stays::Later
    }

    /// Stops the broker and starts it again on what it has stored; returns when connections can be opened. `None` when that is
    /// not possible. Connections from before may recover or fail for good: the suite opens new ones.
    fn restart(&self) -> Option<BoxFuture<'_, Result<()>>> {
        None
    }

    /// Makes retention remove records of a partition from its start on: at least one, and none from `before` on. `None` when
    /// it cannot be made to. The topic was created with a retention of 1 ms and holds 1 MiB.
    fn trim<'a>(
        &'a self,
        _topic: &'a str,
        _partition: u32,
        _before: u64,
    ) -> Option<BoxFuture<'a, Result<()>>> {
        None
    }
}

/// A fixture without its type.
pub(crate) trait Broker: Send + Sync + 'static {
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Backend>>>;
    fn stays(&self) -> Stays;
    fn restart(&self) -> Option<BoxFuture<'_, Result<()>>>;
    fn trim<'a>(
        &'a self,
        topic: &'a str,
        partition: u32,
        before: u64,
    ) -> Option<BoxFuture<'a, Result<()>>>;
}

impl<F: Fixture> Broker for F {
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Backend>>> {
        Box::pin(Fixture::connect(self))
    }

    fn stays(&self) -> Stays {
        Fixture::stays(self)
    }

    fn restart(&self) -> Option<BoxFuture<'_, Result<()>>> {
        Fixture::restart(self)
    }

    fn trim<'a>(
        &'a self,
        topic: &'a str,
        partition: u32,
        before: u64,
    ) -> Option<BoxFuture<'a, Result<()>>> {
        Fixture::trim(self, topic, partition, before)
    }
}
