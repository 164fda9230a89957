//! One batch: who is in it, and how far it is.
//!
//! Its driver, the future that waits and then makes the calls, is polled by one member, the first that is left. It is kept
//! here and not in that member, so that another can go on with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::member::ResponseFuture;
use crate::backend::BoxFuture;
use crate::delivery::Delivery;
use crate::handler::{HandlerError, HandlerResult};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It takes deliveries, until it is full.
    Open,
    /// It is being called.
    Called,
    /// It has ended, or was dropped.
    Over,
}

#[derive(Default)]
struct Member {
    /// Until the call.
    delivery: Option<Delivery>,
    waker: Option<Waker>,
    result: Option<HandlerResult>,
    /// It has its result, or was dropped before it had it.
    gone: bool,
}

struct State {
    phase: Phase,
    members: Vec<Member>,
    /// Away while it is polled.
    driver: Option<BoxFuture<'static, ()>>,
    /// The member that polls the driver.
    leader: usize,
    /// Someone in it cannot wait for more.
    hurried: bool,
    /// It takes no more, however many are in it.
    closed: bool,
}

/// A batch.
pub(crate) struct Gathering {
    size: usize,
    state: Mutex<State>,
}

impl Gathering {
    /// An empty batch for this many deliveries, at least 1.
    pub(crate) fn new(size: usize) -> Self {
        let state = State {
            phase: Phase::Open,
            members: Vec::new(),
            driver: None,
            leader: 0,
            hurried: false,
            closed: false,
        };
        Self {
            size,
            state: Mutex::new(state),
        }
    }

    /// Whether one more delivery may join.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().takes_more(self.size)
    }

    /// Lets nobody join any more, and has it called without a wait for others.
    pub(crate) fn close_to_others(&self) {
        let mut state = self.lock();
        (state.closed, state.hurried) = (true, true);
        state.wake_leader();
    }

    /// Takes a delivery, and gives it back when it is too late. `drive` makes the driver, for the first one.
    pub(super) fn join(
        self: &Arc<Self>,
        delivery: Delivery,
        drive: impl FnOnce(Arc<Self>) -> BoxFuture<'static, ()>,
    ) -> Result<ResponseFuture, Delivery> {
        let mut state = self.lock();
        if !state.takes_more(self.size) {
            return Err(delivery);
        }
        if state.members.is_empty() {
            state.driver = Some(drive(Arc::clone(self)));
        }
        let index = state.members.len();
        state.members.push(Member {
            delivery: Some(delivery),
            ..Member::default()
        });
        if state.members.len() == self.size {
            state.wake_leader();
        }
        Ok(ResponseFuture::new(Arc::clone(self), index))
    }

    /// Polls on behalf of a member.
    pub(super) fn poll(&self, index: usize, cx: &mut Context<'_>) -> Poll<HandlerResult> {
        let mut state = self.lock();
        if let Some(result) = state.take_result(index) {
            return Poll::Ready(result);
        }
        let member = &mut state.members[index];
        if member
            .waker
            .as_ref()
            .is_none_or(|waker| !waker.will_wake(cx.waker()))
        {
            member.waker = Some(cx.waker().clone());
        }
        let stops = |delivery: &Delivery| delivery.stream().is_stopping();
        if member.delivery.as_ref().is_some_and(stops) && !state.hurried {
            state.hurried = true;
            if index != state.leader {
                state.wake_leader();
            }
        }
        if index != state.leader {
            if state.phase == Phase::Called {
                // It was woken although nothing was answered: its partition is being given up, which the driver has to see.
                state.wake_leader();
            }
            return Poll::Pending;
        }
        let Some(mut driver) = state.driver.take() else {
            return Poll::Pending;
        };
        drop(state);
        let driven = driver.as_mut().poll(cx);
        if driven.is_ready() {
            drop(driver);
            let mut state = self.lock();
            state.phase = Phase::Over;
            let result = state.take_result(index);
            return Poll::Ready(result.expect("the driver ends with a result for each member"));
        }
        let mut state = self.lock();
        state.driver = Some(driver);
        match state.take_result(index) {
            Some(result) => Poll::Ready(result),
            None => Poll::Pending,
        }
    }

    /// Whether there is nothing more to wait for.
    pub(super) fn is_due(&self) -> bool {
        let state = self.lock();
        state.hurried || state.members.len() >= self.size
    }

    /// Whether someone in it cannot wait for more.
    pub(super) fn is_hurried(&self) -> bool {
        self.lock().hurried
    }

    /// Closes it: the deliveries of those that are still in it, each with the number of its member.
    pub(super) fn close(&self) -> (Vec<usize>, Vec<Delivery>) {
        let mut state = self.lock();
        state.phase = Phase::Called;
        let members = state.members.iter_mut().enumerate();
        members
            .filter_map(|(index, member)| Some((index, member.delivery.take()?)))
            .unzip()
    }

    /// Ends it for a member, while it may go on for others.
    pub(super) fn end(&self, index: usize, result: HandlerResult) {
        self.lock().members[index].end(result);
    }

    /// A member is dropped before it had its result.
    pub(super) fn leave(&self, index: usize) {
        let mut state = self.lock();
        let member = &mut state.members[index];
        member.gone = true;
        let left = (member.delivery.take(), member.result.take());
        let driver = match state.phase {
            Phase::Open => {
                if state.leader == index {
                    state.hand_on();
                }
                let empty = state.members.iter().all(|member| member.gone);
                empty.then(|| state.over()).flatten()
            }
            // Its own part of the call is over.
            Phase::Called if left.1.is_some() => {
                if state.leader == index {
                    state.hand_on();
                }
                None
            }
            Phase::Called => {
                let unanswered = |member: &&mut Member| !member.gone && member.result.is_none();
                for member in state.members.iter_mut().filter(unanswered) {
                    member.end(Err(HandlerError::put_back()));
                }
                state.over()
            }
            Phase::Over => None,
        };
        drop(state);
        // What they hold may be the user's, with destructors that may do anything.
        drop((left, driver));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    fn end(&mut self, result: HandlerResult) {
        self.result = Some(result);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl State {
    fn takes_more(&self, size: usize) -> bool {
        self.phase == Phase::Open && !self.closed && self.members.len() < size
    }

    /// A member's result; if it polled the driver, another one does so from then on.
    fn take_result(&mut self, index: usize) -> Option<HandlerResult> {
        let result = self.members[index].result.take()?;
        self.members[index].gone = true;
        if index == self.leader {
            self.hand_on();
        }
        Some(result)
    }

    fn wake_leader(&self) {
        let leader = self.members.get(self.leader);
        if let Some(waker) = leader.and_then(|leader| leader.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    /// The next member that is left polls the driver.
    fn hand_on(&mut self) {
        let waits = |member: &Member| !member.gone && member.result.is_none();
        if let Some(next) = self.members.iter().position(waits) {
            self.leader = next;
            self.wake_leader();
        }
    }

    fn over(&mut self) -> Option<BoxFuture<'static, ()>> {
        self.phase = Phase::Over;
        self.driver.take()
    }
}

impl std::fmt::Debug for Gathering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("Gathering")
            .field("phase", &state.phase)
            .field("members", &state.members.len())
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
