//! Stops calling a handler whose calls all fail, until one of them succeeds again.
//!
//! When something that every call needs is away (a database, a service), each message would walk its ladder of retries and,
//! when that is shorter than the outage, become a dead letter without a fault of its own. So when as many *different*
//! messages as `failures` have failed in a row, the circuit opens: nothing is called for `pause`. Then one message is called,
//! as a probe. If it succeeds (or fails for good, which takes a working handler too), the circuit closes; else the next
//! probe is after another pause.
//!
//! **It uses no attempts.** A failure while the circuit is open, that of the probe too, is none of the message's: the message
//! is put back and waits as if it had not been called. Another message is the next probe where there is one, so that a
//! message that always fails does not keep the circuit open. Only the messages that opened it have used an attempt, which may be their last.
//!
//! Waiting is in `poll_ready`, so everything waits: first calls, repeats in place, what comes back from a tier. The source
//! pauses by the limits on held messages, as for a slow handler.
//!
//! Failures that may pass count, by the classes of the app; a message that is tried again counts once. Permanent ones do not:
//! a poisoned message says nothing of others.

mod circuit;
mod future;
mod layer;
#[cfg(test)]
mod tests;

pub use circuit::CircuitState;
pub use future::ResponseFuture;
pub use layer::CircuitBreakerLayer;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};
use tower_service::Service;

use self::circuit::{Circuit, Grant};
use crate::delivery::Delivery;
use crate::handler::{ErrorClasses, HandlerError, Returned};

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Different messages that have to fail in a row, at least 1.
    pub failures: usize,
    /// How long nothing is called before the next probe.
    pub pause: Duration,
    /// Whether a message may be called again without an attempt of it being counted. Not under `at_most_once`: there a
    /// failed probe is a failure.
    pub puts_back: bool,
}

/// One circuit: shared by all services that call the same handler.
pub struct Breaker {
    policy: BreakerPolicy,
    classes: ErrorClasses,
    circuit: Mutex<Circuit>,
}

impl Breaker {
    /// A closed circuit. `classes` say which errors may pass.
    #[must_use]
    pub fn new(policy: BreakerPolicy, classes: ErrorClasses) -> Self {
        Self {
            policy,
            classes,
            circuit: Mutex::new(Circuit::new(policy.failures)),
        }
    }

    /// Whether calls are let through now.
    #[must_use]
    pub fn state(&self) -> CircuitState {
        self.circuit().state()
    }

    /// Whether messages are held back: all, or all but the one that tries.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state() != CircuitState::Closed
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("policy", &self.policy)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Calls its inner service only while its circuit lets it.
pub struct CircuitBreaker<S> {
    inner: S,
    gate: Option<Gate>,
}

/// A place at a circuit.
struct Gate {
    breaker: Arc<Breaker>,
    /// Leave to make the next call.
    granted: Option<Grant>,
    /// Until the circuit may be asked again.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Gate {
    fn new(breaker: Arc<Breaker>) -> Self {
        Self {
            breaker,
            granted: None,
            sleep: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.granted.is_some() {
            return Poll::Ready(());
        }
        loop {
            let until = match self.breaker.circuit().ask(cx.waker(), Instant::now) {
                Ok(grant) => {
                    self.granted = Some(grant);
                    self.sleep = None;
                    return Poll::Ready(());
                }
                Err(until) => until,
            };
            let Some(until) = until else {
                // Whoever has the probe will wake us.
                return Poll::Pending;
            };
            let sleep = self
                .sleep
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            if sleep.deadline() != until {
                sleep.as_mut().reset(until);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(grant) = self.granted.take() {
            self.breaker.circuit().give_back(grant);
        }
    }
}

impl<S> CircuitBreaker<S> {
    /// Around `inner`; without a breaker every call is let through.
    pub fn new(inner: S, breaker: Option<Arc<Breaker>>) -> Self {
        Self {
            inner,
            gate: breaker.map(Gate::new),
        }
    }
}

impl<S: Clone> Clone for CircuitBreaker<S> {
    fn clone(&self) -> Self {
        let breaker = self.gate.as_ref().map(|gate| Arc::clone(&gate.breaker));
        Self::new(self.inner.clone(), breaker)
    }
}

impl<S: fmt::Debug> fmt::Debug for CircuitBreaker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("inner", &self.inner)
            .field("breaker", &self.gate.as_ref().map(|gate| &gate.breaker))
            .finish()
    }
}

impl<S> Service<Delivery> for CircuitBreaker<S>
where
    S: Service<Delivery, Response = Returned, Error = HandlerError>,
{
    type Response = Returned;
    type Error = HandlerError;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        if let Some(gate) = &mut self.gate
            && gate.poll(cx).is_pending()
        {
            return Poll::Pending;
        }
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let called = self.gate.as_mut().map(|gate| {
            let grant = gate.granted.take().unwrap_or(Grant::Call);
            future::Called::new(Arc::clone(&gate.breaker), grant, &delivery)
        });
        ResponseFuture::new(self.inner.call(delivery), called)
    }
}
