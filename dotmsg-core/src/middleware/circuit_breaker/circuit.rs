//! The circuit itself: who may call, and what the ends of calls come to. It has no clock and waits for nothing.

use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

/// Whether a circuit lets calls through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// All of them.
    Closed,
    /// None, until the next probe.
    Open,
    /// One, the probe, which runs now.
    Probing,
}

/// Leave to make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    Call,
    /// It decides whether the circuit closes.
    Probe,
}

/// Which message a call was for: partition and offset of its origin.
pub(super) type Message = (u32, u64);

/// What a failed call is to its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// Its own failure.
    Own,
    /// Its own failure; with it the circuit has opened.
    Opens,
    /// That of what is away.
    Others,
}

enum State {
    Closed {
        /// Different messages that failed since the last success.
        failed: Vec<Message>,
    },
    Open {
        until: Instant,
    },
    Probing {
        /// When it could begin.
        since: Instant,
    },
}

pub(super) struct Circuit {
    failures: usize,
    state: State,
    waiting: Vec<Waker>,
}

impl Circuit {
    pub(super) const fn new(failures: usize) -> Self {
        Self {
            failures,
            state: State::Closed { failed: Vec::new() },
            waiting: Vec::new(),
        }
    }

    pub(super) const fn state(&self) -> CircuitState {
        match self.state {
            State::Closed { .. } => CircuitState::Closed,
            State::Open { .. } => CircuitState::Open,
            State::Probing { .. } => CircuitState::Probing,
        }
    }

    /// Leave to call; else when to ask again, or that `waker` is woken for it.
    pub(super) fn ask(
        &mut self,
        waker: &Waker,
        now: impl FnOnce() -> Instant,
    ) -> Result<Grant, Option<Instant>> {
        let until = match self.state {
            State::Closed { .. } => return Ok(Grant::Call),
            State::Open { until } if now() >= until => {
                self.state = State::Probing { since: until };
                return Ok(Grant::Probe);
            }
            State::Open { until } => Some(until),
            State::Probing { .. } => None,
        };
        if !self.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
        Err(until)
    }

    /// A call succeeded, or failed for good; whether that closed the circuit.
    pub(super) fn succeeded(&mut self, grant: Grant) -> bool {
        match (&mut self.state, grant) {
            (State::Closed { failed }, _) => {
                failed.clear();
                false
            }
            (_, Grant::Probe) => {
                self.state = State::Closed { failed: Vec::new() };
                self.wake();
                true
            }
            // It began before the circuit opened: the probe knows better.
            (_, Grant::Call) => false,
        }
    }

    /// A call failed and may be tried again.
    pub(super) fn failed(
        &mut self,
        grant: Grant,
        message: Message,
        now: Instant,
        pause: Duration,
    ) -> Blame {
        let until = now + pause;
        match (&mut self.state, grant) {
            (State::Closed { failed }, _) => {
                if !failed.contains(&message) {
                    failed.push(message);
                }
                if failed.len() < self.failures {
                    return Blame::Own;
                }
                self.state = State::Open { until };
                Blame::Opens
            }
            (_, Grant::Probe) => {
                self.state = State::Open { until };
                self.wake();
                Blame::Others
            }
            (_, Grant::Call) => Blame::Others,
        }
    }

    /// A call was not made, or was dropped: nothing is known of it.
    pub(super) fn give_back(&mut self, grant: Grant) {
        if let (State::Probing { since }, Grant::Probe) = (&self.state, grant) {
            // Its time has come, so whoever asks next is the probe.
            self.state = State::Open { until: *since };
            self.wake();
        }
    }

    fn wake(&mut self) {
        for waiting in self.waiting.drain(..) {
            waiting.wake();
        }
    }
}
