//! What the app did: every call of a handler and what every delivery came to, in order.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::delivery::Delivery;
use crate::middleware::{Away, Ended, Observer, Outcome};

/// What a delivery came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// The handler succeeded.
    Handled,
    /// Discarded on purpose.
    Discarded,
    /// A dead letter.
    DeadLettered,
    /// Not called: a message with its id was handled before.
    Duplicate,
    /// Not called: dropped, as the route says.
    Shed,
    /// It waits in the tier of this delay.
    Away(Duration),
    /// Given up unsettled: its partition was being given up.
    Interrupted,
}

impl Became {
    /// Whether nothing more is owed for the message.
    #[cfg(feature = "sim")]
    pub(crate) const fn is_settled(self) -> bool {
        match self {
            Self::Handled | Self::Discarded | Self::DeadLettered | Self::Duplicate | Self::Shed => {
                true
            }
            Self::Away(_) | Self::Interrupted => false,
        }
    }
}

/// One thing that happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The handler was called; the number is the attempt, from 1.
    Called(u32),
    /// The delivery came to this.
    Became(Became),
}

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// When, in virtual time.
    pub at: Timestamp,
    /// The handler's name.
    pub handler: String,
    /// Identity of the message.
    pub id: String,
    /// Its key; `None` is null.
    pub key: Option<String>,
    /// Where it was first read: `topic/partition/offset`.
    pub origin: String,
    /// What happened.
    pub what: What,
}

/// Key and id as a line shows them; longer ones are cut.
const SHOWN_MAX: usize = 40;

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.at.since(super::time::START);
        let what = match self.what {
            What::Called(attempt) => format!("called, attempt {attempt}"),
            What::Became(Became::Handled) => "handled".to_owned(),
            What::Became(Became::Discarded) => "discarded".to_owned(),
            What::Became(Became::DeadLettered) => "dead letter".to_owned(),
            What::Became(Became::Duplicate) => "duplicate".to_owned(),
            What::Became(Became::Shed) => "shed".to_owned(),
            What::Became(Became::Away(delay)) => format!("away for {delay:?}"),
            What::Became(Became::Interrupted) => "interrupted".to_owned(),
        };
        let key = self.key.as_deref().unwrap_or("null");
        write!(
            f,
            "{:>9.3} s  {}: {what:<18}  id {:.SHOWN_MAX$}  key {key:.SHOWN_MAX$}  origin {}",
            since.as_secs_f64(),
            self.handler,
            self.id,
            self.origin
        )
    }
}

/// All entries of one app.
#[derive(Debug)]
pub(super) struct Journal {
    clock: Arc<dyn Clock>,
    entries: Mutex<Vec<Entry>>,
}

impl Journal {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            entries: Mutex::default(),
        }
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, handler: &str, delivery: &Delivery, what: What) {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let entry = Entry {
            at: self.clock.now(),
            handler: handler.to_owned(),
            id: text(&delivery.id()),
            key: delivery.key().map(|key| text(key)),
            origin: delivery.origin().to_string(),
            what,
        };
        self.lock().push(entry);
    }
}

impl Observer for Journal {
    fn called(&self, handler: &str, delivery: &Delivery) {
        self.note(handler, delivery, What::Called(delivery.attempt()));
    }

    fn ended(&self, handler: &str, delivery: &Delivery, outcome: Outcome) {
        let became = match outcome {
            Outcome::Settled(Ended::Handled | Ended::Returned { discarded: false }) => {
                Became::Handled
            }
            Outcome::Settled(Ended::Discarded | Ended::Returned { discarded: true }) => {
                Became::Discarded
            }
            Outcome::Settled(Ended::DeadLettered) => Became::DeadLettered,
            Outcome::Settled(Ended::Duplicate) => Became::Duplicate,
            Outcome::Settled(Ended::Shed) => Became::Shed,
            Outcome::Away(Away { delay, .. }) => Became::Away(delay),
            Outcome::Interrupted => Became::Interrupted,
            Outcome::PutBack => unreachable!("nobody is told of it: nothing has ended"),
        };
        self.note(handler, delivery, What::Became(became));
    }
}
