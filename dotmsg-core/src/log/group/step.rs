//! What a step of a group is given, and what it says.
//!
//! The coordinator holds no clock and reaches nobody: time and the source of grants come in, and what the members are to be
//! told goes out, in order.

use std::time::Duration;

use tokio::time::Instant;

use super::super::assignor::Assignor;
use crate::backend::{AssignmentEvent, Granted};

/// The rules of all groups of a log.
#[derive(Clone, Copy, Debug)]
pub(in crate::log) struct Rules {
    pub(in crate::log) assignor: Assignor,
    /// A member that is silent for so long is taken for dead.
    pub(in crate::log) session_timeout: Duration,
    /// A member has so long from poll to poll, and to give up what it was asked for.
    pub(in crate::log) poll_timeout: Duration,
}

/// What a member is told.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// For the runtime to hear.
    Event(AssignmentEvent),
    /// The source may read this, once it is resumed.
    Own(Granted),
    /// The source may not read this any more.
    Disown(u32),
    /// To join the round that has begun, or the group anew.
    Join,
    /// Its instance id has another holder.
    Replaced,
}

/// One step: when it is taken, the source of grants, and what it has to say.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) now: Instant,
    numbers: &'a mut u64,
    pub(super) told: Vec<(u64, Told)>,
}

impl<'a> Step<'a> {
    pub(super) fn new(now: Instant, numbers: &'a mut u64) -> Self {
        Self {
            now,
            numbers,
            told: Vec::new(),
        }
    }

    pub(super) fn tell(&mut self, member: u64, told: Told) {
        self.told.push((member, told));
    }

    /// A number that was never given before.
    pub(super) fn number(&mut self) -> u64 {
        *self.numbers += 1;
        *self.numbers
    }
}
