//! The publisher: rows at a rate, each confirmed. A row's key is its number among the keys, in turn; its payload and id the row.
//!
//! Row 1 has a key that no other row has: the member that never ends its call holds nobody else up.

use std::ops::Range;
use std::time::Duration;

use dotmsg::Message;
use dotmsg::backend::PublishOutcome;
use tokio::time::{Instant, sleep_until};

use crate::{Probe, TOPIC};

/// Rows of one batch last so long: many enough of them to be cheap, short enough to be a steady stream.
const BATCH: Duration = Duration::from_millis(10);

/// Publishes the rows, and returns when all are confirmed.
///
/// # Errors
/// What the app says, and the first row that is not confirmed.
pub(crate) async fn run(app: Probe, rows: Range<u64>, rate: u64, keys: u64) -> Result<(), String> {
    let running = app.start().await.map_err(|error| error.to_string())?;
    let publisher = running.handle().publisher("main");
    let publisher = publisher.ok_or("the backend main is not open")?;
    let start = Instant::now();
    let mut at = rows.start;
    while at < rows.end {
        let passed = start.elapsed() + BATCH;
        let due = u64::try_from(passed.as_micros() * u128::from(rate) / 1_000_000);
        let until = rows.end.min(rows.start + due.unwrap_or(u64::MAX)).max(at);
        let batch = (at..until).map(|row| message(row, keys)).collect();
        for outcome in publisher.publish_all(TOPIC, batch).await {
            if let PublishOutcome::Failed(error) | PublishOutcome::Unknown(error) = outcome {
                return Err(error.to_string());
            }
        }
        at = until;
        sleep_until(start + passed).await;
    }
    running
        .wait()
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}

fn message(row: u64, keys: u64) -> Message {
    let key = match row {
        1 => "first".to_owned(),
        row => format!("key-{}", row % keys),
    };
    Message::new(row.to_string())
        .with_id(row.to_string())
        .with_key(key)
}
