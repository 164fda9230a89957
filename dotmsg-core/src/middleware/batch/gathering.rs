//! One batch: who is in it, and how far it is.
//!
//! Its driver, the future that waits and then makes the calls, is polled by one member, the first that is left. It is kept
//! here and not in that member, so that another can go on with it.
//!
//! A member that is in no call at the moment goes by itself: when its partition is given up it is put back at once, whatever
//! the others wait for. Only one that is in a running call takes that call with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::member::ResponseFuture;
use super::sending::Sending;
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
    /// Until its result is told.
    delivery: Option<Delivery>,
    waker: Option<Waker>,
    result: Option<HandlerResult>,
    /// It is in the call that runs.
    in_call: bool,
    /// What it came to is known, and told or about to be.
    known: bool,
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
    /// It takes no more, however many are in it.
    closed: bool,
    sending: Sending,
}

/// A batch.
pub(crate) struct Gathering {
    size: usize,
    /// Whoever made it says when a member is through with all layers: see [`ended`](Self::ended).
    heard: bool,
    state: Mutex<State>,
}

/// What a member leaves behind. It is dropped without the lock: it may be the user's, with destructors that do anything.
type Left = (
    Option<Delivery>,
    Option<HandlerResult>,
    Option<BoxFuture<'static, ()>>,
);

impl Gathering {
    /// An empty batch for this many deliveries, at least 1.
    pub(crate) fn new(size: usize) -> Self {
        let state = State {
            phase: Phase::Open,
            members: Vec::new(),
            driver: None,
            leader: 0,
            closed: false,
            sending: Sending::default(),
        };
        Self {
            size,
            heard: false,
            state: Mutex::new(state),
        }
    }

    /// The same, made by someone who calls [`ended`](Self::ended) for each member.
    pub(crate) fn heard(size: usize) -> Self {
        Self {
            heard: true,
            ..Self::new(size)
        }
    }

    /// Whether one more delivery may join.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().takes_more(self.size)
    }

    /// Lets nobody join any more, and has it called without a wait for others.
    pub(crate) fn close_to_others(&self) {
        let mut state = self.lock();
        state.closed = true;
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
        if state.members[index].is_not_to_be_called() {
            let left = state.withdraw(index);
            drop(state);
            drop(left);
            return Poll::Ready(Err(HandlerError::put_back()));
        }
        state.members[index].register(cx.waker());
        if index != state.leader {
            return Poll::Pending;
        }
        let Some(mut driver) = state.driver.take() else {
            return Poll::Pending;
        };
        drop(state);
        let driven = driver.as_mut().poll(cx);
        let mut state = self.lock();
        let over = driven.is_ready() || state.phase == Phase::Over;
        let ended = match over {
            true => {
                state.phase = Phase::Over;
                Some(driver)
            }
            false => state.driver.replace(driver),
        };
        let result = state.take_result(index);
        drop(state);
        drop(ended);
        result.map_or(Poll::Pending, Poll::Ready)
    }

    /// Whether there is nothing more to wait for.
    pub(super) fn is_due(&self) -> bool {
        let state = self.lock();
        state.closed || state.members.len() >= self.size
    }

    /// Closes it: the deliveries of those that are still in it, each with the number of its member.
    pub(super) fn close(&self) -> (Vec<usize>, Vec<Delivery>) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Called;
        }
        let members = state.members.iter().enumerate();
        members
            .filter_map(|(index, member)| Some((index, member.delivery.clone()?)))
            .unzip()
    }

    /// Whether a member is still to be called.
    pub(super) fn awaits_call(&self, index: usize) -> bool {
        let member = &self.lock().members[index];
        !member.gone && !member.is_not_to_be_called()
    }

    /// A call with these members begins, in place of the one before.
    pub(super) fn begin_call(&self, called: impl Iterator<Item = usize>) {
        let mut state = self.lock();
        state.end_call();
        for index in called {
            state.members[index].in_call = true;
        }
    }

    /// The call that ran is over.
    pub(super) fn end_call(&self) {
        self.lock().end_call();
    }

    /// Ends it for a member, while it may go on for others. Where its lane is given, results that messages are published
    /// with are told one after the other.
    pub(super) fn end(&self, index: usize, result: HandlerResult, lane: Option<usize>) {
        let mut state = self.lock();
        state.members[index].known = true;
        let left = match lane.filter(|_| self.heard) {
            Some(lane) if state.sending.is_busy(lane) => {
                state.sending.hold(lane, index, result);
                None
            }
            lane => state.tell(index, result, lane),
        };
        drop(state);
        drop(left);
    }

    /// A member is through with all layers; or (not `well`) it is to be tried again, and what is behind it is put back. Of
    /// interest only when messages were to be published for it.
    pub(crate) fn ended(&self, delivery: &Delivery, well: bool) {
        let mut state = self.lock();
        let Some((lane, mut held)) = state.sending.sent(delivery, well) else {
            return;
        };
        let mut left = Vec::new();
        while let Some((index, result)) = held.pop_front() {
            let result = match well {
                true => result,
                false => Err(HandlerError::put_back()),
            };
            left.extend(state.tell(index, result, Some(lane)));
            if state.sending.is_busy(lane) {
                state.sending.hold_all(lane, std::mem::take(&mut held));
            }
        }
        state.wake_leader();
        drop(state);
        drop(left);
    }

    /// Whether messages are being published.
    pub(super) fn is_sending(&self) -> bool {
        !self.lock().sending.is_empty()
    }

    /// Whether messages are being published that a further call has to wait for.
    pub(super) fn holds_up_a_call(&self) -> bool {
        let state = self.lock();
        !state.sending.is_empty() && state.is_to_be_called()
    }

    /// Lanes in which a member is to be tried again although its call ended well.
    pub(super) fn take_failed(&self) -> Vec<usize> {
        self.lock().sending.take_failed()
    }

    /// A member is dropped before it had its result.
    pub(super) fn leave(&self, index: usize) {
        let mut state = self.lock();
        let left = match state.members[index].in_call && !state.members[index].known {
            false => state.withdraw(index),
            true => {
                let put_back = state.break_off(index);
                drop(state);
                drop(put_back);
                return;
            }
        };
        drop(state);
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// Its partition is being given up, and no call of it has begun or a part is to be called again.
    fn is_not_to_be_called(&self) -> bool {
        let stops = |delivery: &Delivery| delivery.stream().is_stopping();
        !self.in_call && !self.known && self.delivery.as_ref().is_some_and(stops)
    }

    fn waits(&self) -> bool {
        !self.gone && self.result.is_none()
    }

    fn register(&mut self, waker: &Waker) {
        let known = self.waker.as_ref();
        if known.is_none_or(|known| !known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

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

    /// Tells a member what it came to; with messages to publish, its lane waits until they are.
    fn tell(
        &mut self,
        index: usize,
        result: HandlerResult,
        lane: Option<usize>,
    ) -> Option<Delivery> {
        let member = &mut self.members[index];
        let delivery = member.delivery.take();
        if member.gone {
            return delivery;
        }
        if let (Some(lane), Some(delivery), Ok(returned)) = (lane, &delivery, &result)
            && !returned.outgoing.is_empty()
        {
            self.sending.begin(lane, delivery);
        }
        member.end(result);
        delivery
    }

    /// A member goes that is in no call. With the last one to be called it is over: the driver has nothing more to do, and
    /// nobody who needs it to be polled.
    fn withdraw(&mut self, index: usize) -> Left {
        let member = &mut self.members[index];
        member.gone = true;
        let (delivery, result) = (member.delivery.take(), member.result.take());
        if index == self.leader {
            self.hand_on();
        }
        let is_last = self
            .members
            .iter()
            .all(|member| member.gone || member.known);
        (delivery, result, is_last.then(|| self.over()).flatten())
    }

    /// A member goes that is in the running call, and the call with it: the others are put back.
    fn break_off(&mut self, index: usize) -> (Vec<Delivery>, Option<BoxFuture<'static, ()>>) {
        self.members[index].gone = true;
        let mut left: Vec<Delivery> = self.members[index].delivery.take().into_iter().collect();
        for member in &mut self.members {
            if member.waits() && !member.known {
                member.known = true;
                left.extend(member.delivery.take());
                member.end(Err(HandlerError::put_back()));
            }
        }
        (left, self.over())
    }

    /// Whether there is somebody to be called.
    fn is_to_be_called(&self) -> bool {
        let to_be_called = |member: &Member| !member.gone && !member.known;
        self.members.iter().any(to_be_called)
    }

    fn wake_leader(&self) {
        let leader = self.members.get(self.leader);
        if let Some(waker) = leader.and_then(|leader| leader.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    /// The next member that is left polls the driver.
    fn hand_on(&mut self) {
        if let Some(next) = self.members.iter().position(Member::waits) {
            self.leader = next;
            self.wake_leader();
        }
    }

    fn end_call(&mut self) {
        for member in &mut self.members {
            member.in_call = false;
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
