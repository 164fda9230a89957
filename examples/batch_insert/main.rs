//! Readings are written to a table many at a time, and one row that the table refuses does not fail the others.
//!
//! A handler of a [`Batch`](dotmsg::Batch) is called with up to a hundred messages; each keeps a settlement of its own. The
//! table (`table.rs`) stands in for a database: an insert takes all of its rows or none. `cargo run --example batch_insert`
//! exits with 1 unless every good row is there and the bad one is a dead letter.

#![allow(clippy::print_stdout, reason = "a program speaks on standard output")]

mod table;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use dotmsg::{App, Batch, Json, Message, MessageId, State};
use table::{Refused, Row, Table};
use tokio::time::timeout;

const READINGS: u32 = 300;

#[dotmsg::handler(topic = "readings", group = "store", batch(size = 100, linger = "1s"))]
async fn store(
    State(table): State<Arc<Table>>,
    Batch(readings): Batch<(MessageId, Json<f64>)>,
) -> Result<(), Refused> {
    let row = |(MessageId(id), Json(celsius))| Row {
        id: id.into(),
        celsius,
    };
    table.insert(readings.into_iter().map(row).collect())
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let table = Arc::new(Table::default());
    let app = App::memory()
        // One partition, so that the batches, and the number of statements, are the same every time.
        .configure(|config| config.set("backend.main.auto_create_partitions", 1))
        .state(Arc::clone(&table))
        .handler(store);
    let running = app.start().await?;
    let handle = running.handle().clone();
    let reading = |number: u32| {
        let celsius = if number == 141 {
            -300.0
        } else {
            f64::from(number) / 10.0
        };
        Message::new(celsius.to_string()).with_id(format!("reading-{number}"))
    };
    let publisher = handle.publisher("main").ok_or("no backend")?;
    let readings = (0..READINGS).map(reading).collect();
    for outcome in publisher.publish_all("readings", readings).await {
        outcome.into_result()?;
    }
    timeout(Duration::from_secs(30), handle.idle()).await?;

    let route = handle.route("store").ok_or("no route")?;
    println!("readings      {READINGS:>4}");
    println!("rows          {:>4}", table.rows());
    println!("statements    {:>4}", table.statements());
    let mut dead = 0;
    let mut letters = route.dead_letters().await?;
    while let Some(letter) = letters.next().await? {
        let id = letter.id();
        println!(
            "dead letter   {}: {}: {}",
            id.escape_ascii(),
            letter.kind,
            letter.reason
        );
        dead += 1;
    }
    handle.drain();
    running.wait().await?;
    let good = table.rows() + 1 == READINGS as usize && dead == 1;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
