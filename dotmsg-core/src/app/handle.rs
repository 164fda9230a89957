//! The handle of a running app: stop it, look at it, publish through it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::backend::Backend;
use crate::error::{Error, ErrorKind, Result};
use crate::lag::Lag;
use crate::middleware::circuit_breaker::Breaker;
use crate::progress::{LogIdentity, PositionRecord};
use crate::publisher::Publisher;
use crate::replay::{DeadLetters, Replay};
use crate::reset::Reset;
use crate::router::{RouteSpec, Topology};
use crate::runtime::{RouteStats, RouteTopics, Shutdown};

/// One route of a running app.
#[derive(Clone, Debug)]
pub struct RouteHandle {
    /// The route, resolved.
    pub spec: Arc<RouteSpec>,
    /// Its topics.
    pub topology: Arc<Topology>,
    /// Its counters.
    pub stats: Arc<RouteStats>,
    /// Its backend.
    pub backend: Arc<dyn Backend>,
    /// Create its source topic with this many partitions at the start when it is missing; `None`: that is an error.
    pub auto_create: Option<u32>,
    /// Its circuit breaker, if the configuration gives it one: whether its handler is called now.
    pub breaker: Option<Arc<Breaker>>,
}

impl RouteHandle {
    /// Whether its circuit breaker, if it has one, holds messages back now.
    #[must_use]
    pub fn is_circuit_open(&self) -> bool {
        let breaker = self.breaker.as_ref();
        breaker.is_some_and(|breaker| breaker.is_open())
    }

    /// A replay of its dead letters to it: each once, however often it is run.
    #[must_use]
    pub fn replay(&self) -> Replay {
        Replay::new(Arc::clone(&self.backend), Arc::clone(&self.topology))
    }

    /// A reset of its position, for which it must be stopped everywhere.
    #[must_use]
    pub fn reset(&self) -> Reset {
        Reset::new(Arc::clone(&self.backend), Arc::clone(&self.topology))
    }

    /// How far the partitions that this process owns are behind, as of now, what is not committed yet included. The whole
    /// group, by what it has committed: [`lag::of`](crate::lag::of).
    ///
    /// # Errors
    /// As [`RouteStats::look_at_lag`].
    pub async fn lag(&self) -> Result<Lag> {
        let lag = self.stats.look_at_lag().await;
        lag.map_err(|error| error.with("route", &self.spec.handler))
    }

    /// The route as far as its topics depend on it: what a start would do to them ([`RouteTopics::plan`]).
    #[must_use]
    pub fn topics(&self) -> RouteTopics {
        RouteTopics {
            route: Arc::clone(&self.spec),
            topology: Arc::clone(&self.topology),
            backend: Arc::clone(&self.backend),
            auto_create: self.auto_create,
        }
    }

    /// Its dead letters, replayed or not.
    ///
    /// # Errors
    /// As [`DeadLetters::open`].
    pub async fn dead_letters(&self) -> Result<DeadLetters> {
        DeadLetters::open(&*self.backend, &self.topology.dead_letter).await
    }

    /// Whether every message that its topic holds is settled, by the committed positions: lag 0 and nobody away.
    ///
    /// # Errors
    /// The backend's.
    pub async fn is_settled(&self) -> Result<bool> {
        let admin = self.backend.admin();
        let Some(topic) = admin.topic(&self.topology.source).await? else {
            return Ok(false);
        };
        let log = LogIdentity::of(admin.cluster().await?, topic.identity);
        let positions: BTreeMap<_, _> = admin
            .positions(&self.spec.group, &self.topology.source)
            .await?
            .into_iter()
            .collect();
        for partition in 0..topic.partitions {
            let range = admin.offsets(&self.topology.source, partition).await?;
            let settled = positions
                .get(&partition)
                .and_then(|bytes| PositionRecord::decode(bytes).ok())
                // A position of the topic of this name before says nothing of what is in this one.
                .is_some_and(|record| !record.is_of_other_log(&log) && record.settled(range.end));
            if !settled {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// An open backend and its publisher.
#[derive(Clone, Debug)]
pub(super) struct OpenBackend {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) publisher: Publisher,
    pub(super) topic_prefix: String,
}

/// Stops and inspects a running app; cheap to clone.
#[derive(Clone, Debug)]
pub struct AppHandle {
    pub(super) shutdown: Arc<watch::Sender<Shutdown>>,
    pub(super) routes: Arc<[RouteHandle]>,
    pub(super) backends: Arc<BTreeMap<String, OpenBackend>>,
}

impl AppHandle {
    /// Stop fetching, let running handlers end within their drain timeout, commit, close.
    pub fn drain(&self) {
        self.advance(Shutdown::Drain);
    }

    /// Give up what still runs; what is settled is committed.
    pub fn abandon(&self) {
        self.advance(Shutdown::Abandon);
    }

    fn advance(&self, to: Shutdown) {
        self.shutdown.send_if_modified(|stage| {
            let forward = *stage < to;
            *stage = (*stage).max(to);
            forward
        });
    }

    /// Whether it was told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.shutdown.borrow() != Shutdown::No
    }

    /// The routes, in the order of their registration.
    #[must_use]
    pub fn routes(&self) -> &[RouteHandle] {
        &self.routes
    }

    /// The route of a handler.
    #[must_use]
    pub fn route(&self, handler: &str) -> Option<&RouteHandle> {
        self.routes
            .iter()
            .find(|route| route.spec.handler == handler)
    }

    /// How far the route of a handler is behind: [`RouteHandle::lag`].
    ///
    /// # Errors
    /// No such route; as [`RouteStats::look_at_lag`].
    pub async fn lag(&self, handler: &str) -> Result<Lag> {
        match self.route(handler) {
            Some(route) => route.lag().await,
            None => {
                let error = Error::new(ErrorKind::NotFound, "tell lag", "no such route");
                Err(error.with("route", handler))
            }
        }
    }

    /// An open backend, by its name in the configuration.
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<&Arc<dyn Backend>> {
        self.backends.get(name).map(|open| &open.backend)
    }

    /// A publisher to a backend, by its name in the configuration.
    #[must_use]
    pub fn publisher(&self, backend: &str) -> Option<&Publisher> {
        self.backends.get(backend).map(|open| &open.publisher)
    }

    /// The names of the open backends: those that a route names; all that the configuration has when there are no routes.
    pub fn backend_names(&self) -> impl Iterator<Item = &str> {
        self.backends.keys().map(String::as_str)
    }

    /// What every topic name starts with on a backend, by its name in the configuration.
    #[must_use]
    pub fn topic_prefix(&self, backend: &str) -> Option<&str> {
        self.backends.get(backend).map(|open| &*open.topic_prefix)
    }

    /// Flushes and closes every backend. A running app does so itself when its routes have ended; this is for one that was
    /// only opened ([`App::open`](super::App::open)).
    ///
    /// # Errors
    /// The first failure, after all have been tried.
    pub async fn close(&self) -> Result<()> {
        let mut closed = Ok(());
        for open in self.backends.values() {
            closed = closed.and(open.backend.close().await);
        }
        closed
    }

    /// Waits until no route has anything to do but wait for new messages or for a retry that is not due.
    ///
    /// It knows what has arrived. From a broker on a network messages may still be on their way, or the member may have no partitions
    /// yet: whether all that a topic holds is settled is what [`RouteHandle::is_settled`] asks.
    pub async fn idle(&self) {
        loop {
            let before = self.activity();
            for route in self.routes.iter() {
                route.stats.idle().await;
            }
            // What one route published may have woken another that was asked before it.
            if self.activity() == before {
                return;
            }
        }
    }

    fn activity(&self) -> u64 {
        self.routes
            .iter()
            .map(|route| {
                let stats = &route.stats;
                stats.delivered() + stats.handled() + stats.retried() + stats.dead_lettered()
            })
            .sum()
    }
}
