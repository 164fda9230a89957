//! Counts handled messages down and wakes the workload at the last one.
//!
//! Every handler of every framework pays the same for it: one relaxed decrement and a branch.
//! The gate is for runtimes with several threads, where handlers would empty the queue while it is being filled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

/// Shared by the handlers and the workload.
#[derive(Clone, Debug)]
pub(crate) struct Latch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    remaining: AtomicU64,
    drained: Notify,
    running: AtomicU64,
    most_running: AtomicU64,
    #[cfg_attr(
        not(feature = "peer"),
        allow(dead_code, reason = "only the peer's handlers wait for it")
    )]
    gate: watch::Sender<bool>,
}

impl Latch {
    /// A latch that waits for `messages` messages, its gate closed.
    pub(crate) fn new(messages: u64) -> Self {
        Self(Arc::new(Inner {
            remaining: AtomicU64::new(messages),
            drained: Notify::new(),
            running: AtomicU64::new(0),
            most_running: AtomicU64::new(0),
            gate: watch::Sender::new(false),
        }))
    }

    /// One message is handled. Relaxed: the wake orders what the waiter reads.
    pub(crate) fn arrived(&self) {
        if self.0.remaining.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.drained.notify_one();
        }
    }

    /// Messages still expected.
    pub(crate) fn remaining(&self) -> u64 {
        self.0.remaining.load(Ordering::Acquire)
    }

    /// Waits for the last message.
    pub(crate) async fn drained(&self) {
        while self.remaining() > 0 {
            self.0.drained.notified().await;
        }
    }

    /// A handler begins to run.
    pub(crate) fn enter(&self) {
        let running = self.0.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.most_running.fetch_max(running, Ordering::Relaxed);
    }

    /// A handler that entered is about to return.
    pub(crate) fn leave(&self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.arrived();
    }

    /// The most handlers that ran at the same time.
    pub(crate) fn most_running(&self) -> u64 {
        self.0.most_running.load(Ordering::Relaxed)
    }

    /// Lets the handlers begin.
    #[cfg_attr(
        not(feature = "peer"),
        allow(dead_code, reason = "only the peer's handlers wait for it")
    )]
    pub(crate) fn open(&self) {
        self.0.gate.send_replace(true);
    }

    /// Waits until the gate is open; once it is, one uncontended look.
    #[cfg_attr(
        not(feature = "peer"),
        allow(dead_code, reason = "only the peer's handlers wait for it")
    )]
    pub(crate) async fn opened(&self) {
        if *self.0.gate.borrow() {
            return;
        }
        // The sender lives in `self`, so the channel cannot close.
        let _ = self.0.gate.subscribe().wait_for(|open| *open).await;
    }
}
