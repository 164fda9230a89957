//! The loop that everything is compared with: one `poll` per message, one commit per interval.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::BorrowedMessage;

use crate::client::{self, COMMIT};
use crate::environment::Environment;
use crate::meter::Meter;
use crate::payment::Payment;

/// Messages between two looks at the clock.
const LOOK: u64 = 256;

/// `w1` by hand.
///
/// # Errors
/// What the client says.
pub(crate) fn count(environment: &Environment) -> Result<(), String> {
    each(environment, |meter, message| {
        black_box(message.payload());
        meter.handled();
        Ok(())
    })
}

/// `w2` by hand.
///
/// # Errors
/// What the client says, and a payload that is no payment.
pub(crate) fn add(environment: &Environment) -> Result<(), String> {
    each(environment, |meter, message| {
        let payload = message.payload().unwrap_or_default();
        let payment: Payment<'_> =
            serde_json::from_slice(payload).map_err(|error| format!("no payment: {error}"))?;
        black_box(&payment.note);
        if meter.handled() {
            meter.add(payment.amount);
        }
        Ok(())
    })
}

fn each(
    environment: &Environment,
    mut handle: impl FnMut(&Meter, &BorrowedMessage<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let meter = Meter::new(environment.messages);
    let consumer = client::consumer(environment)?;
    let (mut since_look, mut committed) = (0, now());
    while !meter.has_ended() {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message.map_err(|error| format!("cannot read: {error}"))?;
        handle(&meter, &message)?;
        since_look += 1;
        if since_look == LOOK {
            since_look = 0;
            if committed.elapsed() >= COMMIT {
                committed = now();
                commit(&consumer, CommitMode::Async)?;
            }
        }
    }
    commit(&consumer, CommitMode::Sync)?;
    drop(consumer);
    meter.print("bare", environment)
}

/// Commits what was polled. Everything polled is handled when this is called.
fn commit(consumer: &BaseConsumer, mode: CommitMode) -> Result<(), String> {
    let committed = consumer.commit_consumer_state(mode);
    committed.map_err(|error| format!("cannot commit: {error}"))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
