//! Whether the world goes on, and where it stops.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use dotmsg_core::backend::PublishRecord;
use tokio::sync::watch;

use crate::wait::within;

/// A point of an app's life at which the world may stop. The first pass of a point stops it, but where a number says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// Before this commit, counted from 0, is handed to the broker. The first of a member are those of its takeovers.
    BeforeCommit(usize),
    /// After this commit is stored, before its answer is.
    AfterCommit(usize),
    /// Before a record is handed over to a retry topic.
    BeforeTier,
    /// After this record of a retry topic, counted from 0, is there, before that is answered.
    AfterTier(usize),
    /// Before a record is handed over to the dead-letter topic.
    BeforeDeadLetter,
    /// After it is there, before that is answered.
    AfterDeadLetter,
    /// When the case says so.
    Told,
}

/// Lets calls through until it is shut.
#[derive(Debug)]
pub(crate) struct Gate {
    point: Option<Point>,
    commits: Mutex<usize>,
    tiers: Mutex<usize>,
    /// Answers that are still to be lost.
    lost: Mutex<usize>,
    shut: watch::Sender<bool>,
    wakers: Mutex<Vec<Waker>>,
}

impl Gate {
    pub(crate) fn open() -> Self {
        Self {
            point: None,
            commits: Mutex::default(),
            tiers: Mutex::default(),
            lost: Mutex::default(),
            shut: watch::Sender::new(false),
            wakers: Mutex::default(),
        }
    }

    pub(crate) fn armed(point: Point) -> Self {
        Self {
            point: Some(point),
            ..Self::open()
        }
    }

    /// Loses the next answers to commits, and to what is published to the group's own topics.
    pub(crate) fn losing(answers: usize) -> Self {
        Self {
            lost: Mutex::new(answers),
            ..Self::open()
        }
    }

    /// Loses so many answers more.
    pub(crate) fn lose(&self, answers: usize) {
        *lock(&self.lost) += answers;
    }

    /// Whether the answer that comes now is lost.
    pub(super) fn loses_an_answer(&self) -> bool {
        let mut lost = lock(&self.lost);
        let loses = *lost > 0;
        *lost = lost.saturating_sub(1);
        loses
    }

    /// Answers that are still to be lost.
    pub(crate) fn to_lose(&self) -> usize {
        *lock(&self.lost)
    }

    /// Stops the world now.
    pub(crate) fn shut(&self) {
        self.shut.send_replace(true);
    }

    /// Lets the world go on, and never stops it again.
    pub(crate) fn reopen(&self) {
        self.shut.send_replace(false);
        for waker in lock(&self.wakers).drain(..) {
            waker.wake();
        }
    }

    /// Waits until the world stops.
    pub(crate) async fn stopped(&self) {
        let what = format!("the world stops at {:?}", self.point);
        let mut shut = self.shut.subscribe();
        // The sender is `self`.
        let _ = within(&what, shut.wait_for(|shut| *shut)).await;
    }

    /// Returns at once, or when the world goes on.
    pub(super) async fn pass(&self) {
        let mut shut = self.shut.subscribe();
        let _ = shut.wait_for(|shut| !shut).await;
    }

    /// The same for a poll: false when the world stands still.
    pub(super) fn is_open(&self, cx: &mut Context<'_>) -> bool {
        let mut wakers = lock(&self.wakers);
        // Under the lock, so that a reopening does not slip in between.
        let open = !*self.shut.borrow();
        if !open && !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        open
    }

    /// The number of a commit that begins; the world may stop before it.
    pub(super) async fn before_commit(&self) -> usize {
        let number = next(&self.commits);
        self.arrive(Point::BeforeCommit(number)).await;
        number
    }

    pub(super) async fn after_commit(&self, number: usize) {
        self.arrive(Point::AfterCommit(number)).await;
    }

    pub(super) async fn before_publish(&self, records: &[PublishRecord]) {
        self.arrive_at_own(records, Point::BeforeTier, Point::BeforeDeadLetter)
            .await;
    }

    pub(super) async fn after_publish(&self, to: Own) {
        match to {
            Own::Tier => {
                let number = next(&self.tiers);
                self.arrive(Point::AfterTier(number)).await;
            }
            Own::DeadLetter => self.arrive(Point::AfterDeadLetter).await,
            Own::None => self.pass().await,
        }
    }

    async fn arrive_at_own(&self, records: &[PublishRecord], tier: Point, dead_letter: Point) {
        match Own::of(records) {
            Own::Tier => self.arrive(tier).await,
            Own::DeadLetter => self.arrive(dead_letter).await,
            Own::None => self.pass().await,
        }
    }

    async fn arrive(&self, at: Point) {
        if self.point == Some(at) {
            self.shut();
        }
        self.pass().await;
    }
}

/// Which of the group's own topics records go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    Tier,
    DeadLetter,
    None,
}

impl Own {
    pub(super) fn of(records: &[PublishRecord]) -> Self {
        let goes = |part: &str| records.iter().any(|record| record.topic.contains(part));
        if goes(".retry.") {
            Self::Tier
        } else if records.iter().any(|record| record.topic.ends_with(".dlq")) {
            Self::DeadLetter
        } else {
            Self::None
        }
    }
}

fn next(counter: &Mutex<usize>) -> usize {
    let mut counter = lock(counter);
    *counter += 1;
    *counter - 1
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
