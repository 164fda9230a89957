//! One member of a group: what its polling thread, its source and its control share.
//!
//! The thread alone talks to the group. The source takes from the inbox and from the list of events; the control sends commands
//! and commits. Locks are held for a few instructions each; where two are, ownership is the outer one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use dotmsg_core::backend::{AssignmentEvent, Granted};
use dotmsg_core::error::Error;
use rdkafka::consumer::BaseConsumer;
use tokio::sync::oneshot;

use crate::bell::Bell;
use crate::context::Context;
use crate::inbox::{Begin, Inbox};
use crate::lock;
use crate::native::{CommitReply, Queue};
use crate::now;
use crate::ownership::Ownership;

/// What the control asks of the thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// Stop reading a partition.
    Pause(u32),
    /// Read it, from there on.
    Resume { partition: u32, from: Begin },
    /// These are given up.
    Release(Vec<Granted>, oneshot::Sender<()>),
    /// Leave the group.
    Close {
        deadline: Instant,
        done: oneshot::Sender<()>,
    },
}

/// Events that the source has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) queue: VecDeque<AssignmentEvent>,
    pub(crate) waker: Option<Waker>,
    pub(crate) failure: Option<(dotmsg_core::error::ErrorKind, String)>,
}

/// A commit that was not answered yet.
#[derive(Debug)]
pub(crate) struct PendingCommit {
    pub(crate) partitions: Vec<u32>,
    pub(crate) answer: oneshot::Sender<CommitReply>,
}

/// The client of a member, until it has left.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) consumer: Arc<BaseConsumer<Context>>,
    /// Answers to commits arrive here.
    pub(crate) replies: Arc<Queue<Context>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// What all parts of a member share.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) topic: Arc<str>,
    pub(crate) group: Arc<str>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) inbox: Mutex<Inbox>,
    pub(crate) events: Mutex<Events>,
    pub(crate) ownership: Mutex<Ownership>,
    pub(crate) commits: Mutex<BTreeMap<usize, PendingCommit>>,
    pub(crate) client: Mutex<Option<Client>>,
    /// Milliseconds from `began` to the source's last poll.
    polled: AtomicU64,
    began: Instant,
}

impl Member {
    pub(crate) fn new(
        topic: Arc<str>,
        group: Arc<str>,
        bell: Arc<Bell>,
        inbox: Inbox,
        client: Client,
    ) -> Self {
        Self {
            topic,
            group,
            bell,
            inbox: Mutex::new(inbox),
            events: Mutex::default(),
            ownership: Mutex::default(),
            commits: Mutex::default(),
            client: Mutex::new(Some(client)),
            polled: AtomicU64::new(0),
            began: now(),
        }
    }

    /// The client, until the member has left.
    pub(crate) fn client(&self) -> Option<Client> {
        lock(&self.client).clone()
    }

    /// Tells the source.
    pub(crate) fn tell(&self, event: AssignmentEvent) {
        let mut events = lock(&self.events);
        events.queue.push_back(event);
        if let Some(waker) = events.waker.take() {
            waker.wake();
        }
    }

    /// Ends the membership for its source: every poll says why, after what came before.
    pub(crate) fn fail(&self, error: Error) {
        let mut events = lock(&self.events);
        events
            .failure
            .get_or_insert((error.kind(), error.to_string()));
        if let Some(waker) = events.waker.take() {
            waker.wake();
        }
        drop(events);
        lock(&self.inbox).fail(error);
    }

    /// The source was polled: whoever consumes is alive.
    pub(crate) fn is_polled(&self) {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.polled.store(at, Ordering::Relaxed);
    }

    /// How long ago the source was polled.
    pub(crate) fn silent_for(&self) -> Duration {
        let polled = Duration::from_millis(self.polled.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(polled)
    }

    /// Makes whoever waits for events poll again, to see that it is alive.
    pub(crate) fn nudge(&self) {
        if let Some(waker) = lock(&self.events).waker.take() {
            waker.wake();
        }
    }
}
