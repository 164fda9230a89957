//! The ledger: a note per message of `miles` and of the dead letters, and the table that all notes fold to.
//!
//! A note is written before its message is settled, so no settled message is without one; a message that is delivered
//! again is noted again, and the fold counts each row once. That makes the table exact after any number of kills, and it
//! needs no history from the backend. Every process appends to a file of its own, so that a line torn by a kill is the last
//! of its file.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use dotmsg::delivery::control;
use dotmsg::{Delivery, HandlerError};
use serde::{Deserialize, Serialize};

use crate::handlers::Miles;
use crate::journal::{Journal, read_lines};
use crate::table::Table;

/// What the files of the ledger start with.
const PREFIX: &str = "ledger";

/// Where this process notes what it handled; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(Journal);

/// One message of `miles` or of the dead letters.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    row: u64,
    /// Where the message was first read: notes of one place are one message.
    at: (String, u32, u64),
    #[serde(flatten)]
    end: End,
}

/// How a row ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Handled {
        tail: Option<String>,
        miles: u64,
    },
    /// The kind of its failure.
    Dead(String),
}

impl Note {
    pub(crate) fn handled(delivery: &Delivery, miles: Miles) -> Self {
        let Miles { row, tail, miles } = miles;
        Self::new(delivery, row, End::Handled { tail, miles })
    }

    pub(crate) fn dead(delivery: &Delivery, row: u64) -> Self {
        let kind = delivery.headers().get_str(control::FAILURE_KIND);
        Self::new(
            delivery,
            row,
            End::Dead(kind.unwrap_or_default().to_owned()),
        )
    }

    fn new(delivery: &Delivery, row: u64, end: End) -> Self {
        let origin = delivery.origin();
        Self {
            row,
            at: (origin.topic.to_owned(), origin.partition, origin.offset),
            end,
        }
    }
}

impl Ledger {
    /// A file of this process in `directory`.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        Journal::create(directory, PREFIX).map(Self)
    }

    /// Appends a note; it is in the file, whole, when this returns.
    pub(crate) fn note(&self, note: &Note) -> Result<(), HandlerError> {
        Ok(self.0.append(note)?)
    }
}

/// Folds the ledgers of all processes in `directory`, each row once.
pub(crate) fn fold(directory: &Path) -> io::Result<Table> {
    let mut rows = BTreeMap::new();
    let mut messages = BTreeSet::new();
    for note in read_lines::<Note>(directory, PREFIX)? {
        messages.insert(note.at);
        rows.entry(note.row).or_insert(note.end);
    }
    let mut table = Table {
        rows: rows.len(),
        redelivered: messages.len() - rows.len(),
        ..Table::default()
    };
    let mut aircraft = BTreeSet::new();
    for end in rows.into_values() {
        match end {
            End::Handled { tail, miles } => {
                table.handled += 1;
                table.miles += miles;
                aircraft.extend(tail);
            }
            End::Dead(kind) => {
                table.dead += 1;
                table.never_departed += usize::from(kind == "never_departed");
                table.no_air_time += usize::from(kind == "no_air_time");
            }
        }
    }
    table.aircraft = aircraft.len();
    Ok(table)
}
