//! The handlers: all that an author of a service writes.
//!
//! `flight` turns a departure into miles, or says why it cannot; the framework does the rest: order by aircraft, retries,
//! dead letters, progress. `total` and `dead` note where each row ended, before its settlement, so that a kill at any moment
//! repeats a note and never loses one.

use dotmsg::handler::{Json, State};
use dotmsg::{Delivery, HandlerError, Outgoing};
use serde::{Deserialize, Serialize};

use crate::ledger::{Ledger, Note};
use crate::trial::Trial;

/// A departure. The fields that may be absent are `NA` in the input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Flight {
    /// Number of the row in the input, from 1; also the message's id.
    pub(crate) row: u64,
    pub(crate) carrier: String,
    pub(crate) flight: u32,
    /// Tail number of the aircraft; also the message's key.
    pub(crate) tail: Option<String>,
    pub(crate) origin: String,
    pub(crate) dest: String,
    /// When it departed, `HHMM`.
    pub(crate) dep_time: Option<u32>,
    /// Minutes.
    pub(crate) air_time: Option<u32>,
    /// Miles.
    pub(crate) distance: u64,
}

/// What an aircraft flew in one row.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Miles {
    pub(crate) row: u64,
    pub(crate) tail: Option<String>,
    pub(crate) miles: u64,
}

/// Publishes the miles of each departure that flew. The trial around it only watches and, when asked to, disturbs.
#[dotmsg::handler(
    topic = "departures",
    group = "miles",
    concurrency = 1024,
    retry(tiers = ["10ms", "30ms"])
)]
pub(crate) async fn flight(
    State(trial): State<Trial>,
    delivery: &Delivery,
    Json(flight): Json<Flight>,
) -> Result<Outgoing, HandlerError> {
    trial.watch(delivery, flight.row, || miles_of(flight)).await
}

fn miles_of(flight: Flight) -> Result<Outgoing, HandlerError> {
    if flight.air_time.is_none() {
        let (kind, why) = match flight.dep_time {
            None => ("never_departed", "the flight never departed"),
            Some(_) => ("no_air_time", "the flight departed and has no air time"),
        };
        return Err(HandlerError::permanent(why).kind(kind));
    }
    let miles = Miles {
        row: flight.row,
        tail: flight.tail,
        miles: flight.distance,
    };
    let message = Outgoing::json("miles", &miles)?;
    Ok(match miles.tail {
        Some(tail) => message.key(tail),
        None => message,
    })
}

/// Notes each row that was handled.
#[dotmsg::handler(topic = "miles", group = "totals")]
pub(crate) async fn total(
    State(ledger): State<Ledger>,
    delivery: &Delivery,
    Json(miles): Json<Miles>,
) -> Result<(), HandlerError> {
    ledger.note(&Note::handled(delivery, miles))
}

/// Notes each row that ended as a dead letter, and why.
#[dotmsg::handler(topic = "departures.miles.dlq", group = "totals")]
pub(crate) async fn dead(
    State(ledger): State<Ledger>,
    delivery: &Delivery,
    Json(flight): Json<Flight>,
) -> Result<(), HandlerError> {
    ledger.note(&Note::dead(delivery, flight.row))
}
