//! Where deliveries come from: positions, and the stream (one partition in one role, under one epoch).

use std::any::Any;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Provided;
use crate::message::Pen;

/// A place in a log: topic, partition, offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position<'a> {
    /// The topic, as the broker knows it (prefix included).
    pub topic: &'a str,
    /// The partition, from 0.
    pub partition: u32,
    /// The offset, from 0.
    pub offset: u64,
}

impl fmt::Display for Position<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

impl Position<'_> {
    /// Writes what it displays as, without the cost of a formatter: every message that is published has one in its id.
    pub(crate) fn write(&self, to: &mut Pen<'_>) -> io::Result<()> {
        let mut digits = itoa::Buffer::new();
        to.write_all(self.topic.as_bytes())?;
        to.write_all(b"/")?;
        to.write_all(digits.format(self.partition).as_bytes())?;
        to.write_all(b"/")?;
        to.write_all(digits.format(self.offset).as_bytes())
    }
}

/// What a partition is to a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The topic the route subscribes to.
    Source,
    /// A retry topic of the group.
    Tier {
        /// The tier's constant delay.
        delay: Duration,
    },
    /// The group-private replay topic.
    Replay,
}

/// One partition in one role under one ownership epoch; shared by all its deliveries.
#[derive(Debug)]
pub struct Stream {
    /// The topic, as the broker knows it.
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: u32,
    /// The ownership epoch of the source partition of this number.
    pub epoch: u64,
    /// What it is to the route.
    pub role: Role,
    provided: Option<Arc<Provided>>,
    stopping: AtomicBool,
    void: AtomicBool,
}

impl Stream {
    /// A stream.
    #[must_use]
    pub fn new(topic: Arc<str>, partition: u32, epoch: u64, role: Role) -> Self {
        Self {
            topic,
            partition,
            epoch,
            role,
            provided: None,
            stopping: AtomicBool::new(false),
            void: AtomicBool::new(false),
        }
    }

    /// The same, whose deliveries have this for their extractors.
    #[must_use]
    pub fn providing(mut self, provided: Option<Arc<Provided>>) -> Self {
        self.provided = provided;
        self
    }

    /// What the app gives of this type.
    #[must_use]
    pub fn provided<T: Any>(&self) -> Option<&T> {
        self.provided.as_ref()?.get()
    }

    /// All that the app gives, for another stream of the same route.
    pub(crate) fn all_provided(&self) -> Option<Arc<Provided>> {
        self.provided.clone()
    }

    /// The partition is being given up: layers that sleep before a repeat end at once, unsettled.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the partition is being given up.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The partition is gone, or rewound: whatever still runs of it ends unsettled, and what it returns is dropped.
    pub(crate) fn annul(&self) {
        self.void.store(true, Ordering::Release);
        self.stop();
    }

    /// Whether what still runs of it counts for nothing.
    pub(crate) fn is_void(&self) -> bool {
        self.void.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::cut;

    #[test]
    fn a_position_is_written_as_it_is_displayed() {
        let position = Position {
            topic: "orders",
            partition: 3,
            offset: 41,
        };
        let written = cut(|to| position.write(to)).unwrap();
        assert_eq!(written, position.to_string());
    }
}
