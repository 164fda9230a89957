//! `w3` by hand: a task per message, as many as a semaphore lets run. No order of keys, and progress is committed when all is done:
//! this is what the timers and tasks of the runtime cost, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::client;
use crate::environment::Environment;
use crate::meter::Meter;
use crate::own;

/// Reads, waits for a permit, starts a task.
///
/// # Errors
/// What the client says.
pub(crate) fn run(environment: &Environment) -> Result<(), String> {
    let runtime = own::runtime()?;
    let meter = Arc::new(Meter::new(environment.messages));
    let consumer = client::consumer(environment)?;
    let permits = Arc::new(Semaphore::new(environment.concurrency.unwrap_or(own::SLOW)));
    feed(environment, runtime.handle(), &consumer, &meter, &permits)?;
    runtime.block_on(meter.ended());
    let committed = consumer.commit_consumer_state(CommitMode::Sync);
    committed.map_err(|error| format!("cannot commit: {error}"))?;
    drop(consumer);
    meter.print("bare", environment)
}

fn feed(
    environment: &Environment,
    runtime: &Handle,
    consumer: &rdkafka::consumer::BaseConsumer,
    meter: &Arc<Meter>,
    permits: &Arc<Semaphore>,
) -> Result<(), String> {
    for _ in 0..environment.messages {
        let message = loop {
            if let Some(message) = consumer.poll(Duration::from_millis(100)) {
                break message
                    .map_err(|error| format!("cannot read: {error}"))?
                    .detach();
            }
        };
        let permit = runtime.block_on(Arc::clone(permits).acquire_owned());
        let permit = permit.map_err(|error| error.to_string())?;
        meter.enter();
        let meter = Arc::clone(meter);
        runtime.spawn(async move {
            tokio::time::sleep(own::WORK).await;
            drop((message, permit));
            meter.handled();
        });
    }
    Ok(())
}
