//! The downstream, in this process: what somebody's HTTP API would be.
//!
//! While it is down, one call in two is refused and the other is never answered. It is down for a number of calls and not for
//! a time, so that the example prints the same on every machine.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use dotmsg::Classify;
use tokio::time::Instant;

/// Somebody else's service.
pub(crate) struct Partner(Mutex<State>);

struct State {
    down_for: u32,
    calls: Vec<Instant>,
    in_vain: u32,
    now: u32,
    at_once: u32,
}

/// What the partner has seen.
pub(crate) struct Calls {
    pub(crate) in_vain: u32,
    /// Calls that ran at the same time, at most.
    pub(crate) at_once: u32,
    /// Calls that began within one second, at most.
    pub(crate) in_any_second: usize,
}

/// The partner is down: that may pass.
#[derive(Debug, Classify)]
#[classify(transient, kind = "partner_down")]
pub(crate) struct PartnerError;

impl fmt::Display for PartnerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the partner answered 503")
    }
}

impl std::error::Error for PartnerError {}

impl Partner {
    /// One that fails so many calls.
    pub(crate) fn down_for(calls: u32) -> Self {
        Self(Mutex::new(State {
            down_for: calls,
            calls: Vec::new(),
            in_vain: 0,
            now: 0,
            at_once: 0,
        }))
    }

    /// Takes a moment; fails, or hangs, while the partner is down.
    pub(crate) async fn announce(&self, _parcel: u32) -> Result<(), PartnerError> {
        let is_up = self.begin();
        // Also when the limit of the call ends it.
        let _ended = Ended(self);
        tokio::time::sleep(Duration::from_millis(5)).await;
        match is_up {
            None => Ok(()),
            Some(call) if call % 2 == 0 => Err(PartnerError),
            Some(_) => std::future::pending().await,
        }
    }

    /// Which call in vain it is, if it is one.
    fn begin(&self) -> Option<u32> {
        let mut state = self.0.lock().unwrap();
        state.calls.push(Instant::now());
        state.now += 1;
        state.at_once = state.at_once.max(state.now);
        let is_down = state.in_vain < state.down_for;
        state.in_vain += u32::from(is_down);
        is_down.then_some(state.in_vain)
    }

    pub(crate) fn calls(&self) -> Calls {
        let state = self.0.lock().unwrap();
        let second = Duration::from_secs(1);
        let within = |first: &Instant| {
            let after = state.calls.iter().filter(|call| *call >= first);
            after.filter(|call| **call - *first < second).count()
        };
        Calls {
            in_vain: state.in_vain,
            at_once: state.at_once,
            in_any_second: state.calls.iter().map(within).max().unwrap_or(0),
        }
    }
}

struct Ended<'a>(&'a Partner);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().now -= 1;
    }
}
