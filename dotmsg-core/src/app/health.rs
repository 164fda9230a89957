//! Whether an app works, for whoever restarts it or sends it traffic.
//!
//! Two questions that must not be mixed up. *Live*: would a restart help? A broker that is away is no reason, for a restart would
//! change nothing about it; a thread that something blocks is one. *Ready*: does it do its work? A rebalance is no reason to
//! say no, since then every deployment would make all members unready at once.

use std::time::Duration;

use tokio::time::timeout;

use super::{AppHandle, RouteHandle};
use crate::lag::Diagnosis;
use crate::runtime::StuckCall;

/// A route whose task has had no turn for so long is blocked.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What an app says of itself; [`AppHandle::health`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// One for each route, in the order of their registration.
    pub routes: Vec<RouteHealth>,
}

/// What a route says of itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RouteHealth {
    /// Its handler.
    pub route: String,
    /// How far it is.
    pub state: RouteState,
    /// Its task has had its turn within 5 s, or has not joined its group yet. If not, something blocks the thread: a handler that
    /// computes for long or calls blocking code.
    pub answers: bool,
    /// Its circuit breaker lets no message through now.
    pub circuit_open: bool,
    /// Partitions that are paused at a limit.
    pub paused: u64,
    /// Calls of the handler that have run for a minute or longer, some of them.
    pub stuck: Vec<StuckCall>,
    /// What there is to say of its lag, by the last look.
    pub diagnosis: Diagnosis,
}

/// How far a route is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteState {
    /// It has not heard yet which partitions it gets.
    Joining,
    /// It works, or would if there were anything to do.
    Ready,
    /// It was told to stop and drains.
    Stopping,
    /// It has ended.
    Ended,
}

impl RouteState {
    /// As a word: `joining`, `ready`, `stopping`, `ended`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Ended => "ended",
        }
    }
}

impl Health {
    /// Whether a restart would not help: the task of every route has its turns. It does not depend on a broker.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.routes.iter().all(|route| route.answers)
    }

    /// Whether the app works: it is live, and every route has joined its group and was not told to stop. A rebalance, an open
    /// circuit and lag change nothing about it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let ready = |route: &RouteHealth| route.state == RouteState::Ready;
        self.is_live() && self.routes.iter().all(ready)
    }
}

impl AppHandle {
    /// Whether the app works. It waits for the tasks of the routes, at most 5 s, and never for a broker.
    pub async fn health(&self) -> Health {
        let mut answers = tokio::task::JoinSet::new();
        for (index, route) in self.routes.iter().enumerate() {
            let stats = route.stats.clone();
            answers.spawn(
                async move { (index, timeout(ANSWER_WITHIN, stats.answer()).await.is_ok()) },
            );
        }
        let mut answered = vec![false; self.routes.len()];
        while let Some(answer) = answers.join_next().await {
            if let Ok((index, true)) = answer {
                answered[index] = true;
            }
        }
        let stopping = self.is_stopping();
        let routes = self.routes.iter().zip(answered);
        Health {
            routes: routes
                .map(|(route, answers)| route.health(answers, stopping))
                .collect(),
        }
    }
}

impl RouteHandle {
    fn health(&self, answers: bool, stopping: bool) -> RouteHealth {
        let stats = &self.stats;
        let state = match () {
            () if stats.has_ended() => RouteState::Ended,
            () if stopping => RouteState::Stopping,
            () if stats.is_ready() => RouteState::Ready,
            () => RouteState::Joining,
        };
        RouteHealth {
            route: self.spec.handler.clone(),
            state,
            answers,
            circuit_open: self.is_circuit_open(),
            paused: stats.paused(),
            stuck: stats.stuck(),
            diagnosis: stats.lag().diagnosis(),
        }
    }
}
