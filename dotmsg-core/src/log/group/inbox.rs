//! What a member's source is told, by its group and by its own control, and how it is woken for it.
//!
//! Events and commands are apart: events are the runtime's to hear, commands change what the source reads. Both are only
//! left here; the source takes them at its next poll, so nothing of the group's runs on the member's task.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use super::super::lock;
use super::super::signal::Signal;
use super::step::Told;
use crate::backend::{AssignmentEvent, Granted};

/// What a member's source is told.
#[derive(Debug, Default)]
pub(in crate::log) struct Inbox {
    pub(in crate::log) event_signal: Arc<Signal>,
    pub(in crate::log) batch_signal: Arc<Signal>,
    events: Mutex<VecDeque<AssignmentEvent>>,
    commands: Mutex<Vec<Command>>,
    /// Whether there are commands: saves the lock on every poll without one.
    commanded: AtomicBool,
    /// [`AWAITED`] and [`WATCHED`]: one word, since every poll looks at it and nearly always finds nothing.
    care: AtomicU8,
    closed: AtomicBool,
    /// Another member has taken its instance id over.
    replaced: AtomicBool,
}

/// The group waits for this member to join its next round, or again.
const AWAITED: u8 = 1;
/// There are other members, so that this one has to show that it lives.
const WATCHED: u8 = 2;

/// A change to what a source reads; takes effect at its next poll.
#[derive(Clone, Copy, Debug)]
pub(in crate::log) enum Command {
    /// Owned from now on, paused.
    Own(Granted),
    /// No longer owned.
    Disown(u32),
    /// No batches until resumed.
    Pause(u32),
    /// Batches from here on, or from where it stopped.
    Resume(u32, Option<u64>),
}

impl Inbox {
    pub(in crate::log) fn command(&self, command: Command) {
        lock(&self.commands).push(command);
        self.commanded.store(true, Ordering::Release);
        self.batch_signal.raise();
    }

    /// Gives the waiting commands to `apply`, oldest first.
    pub(in crate::log) fn drain_commands(&self, mut apply: impl FnMut(Command)) {
        if !self.commanded.swap(false, Ordering::AcqRel) {
            return;
        }
        for command in lock(&self.commands).drain(..) {
            apply(command);
        }
    }

    pub(in crate::log) fn next_event(&self) -> Option<AssignmentEvent> {
        lock(&self.events).pop_front()
    }

    /// Whether the group needs anything of a member that polls.
    #[inline]
    pub(in crate::log) fn needs_care(&self) -> bool {
        self.care.load(Ordering::Acquire) != 0
    }

    /// Whether the group waits for this member; asking takes the question back.
    pub(in crate::log) fn take_awaited(&self) -> bool {
        self.care.fetch_and(!AWAITED, Ordering::AcqRel) & AWAITED != 0
    }

    pub(in crate::log) fn is_watched(&self) -> bool {
        self.care.load(Ordering::Acquire) & WATCHED != 0
    }

    pub(in crate::log) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(in crate::log) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    pub(super) fn tell(&self, told: Told) {
        match told {
            Told::Event(event) => {
                lock(&self.events).push_back(event);
                self.event_signal.raise();
            }
            Told::Own(granted) => self.command(Command::Own(granted)),
            Told::Disown(partition) => self.command(Command::Disown(partition)),
            Told::Join => {
                self.care.fetch_or(AWAITED, Ordering::AcqRel);
                self.event_signal.raise();
            }
            Told::Replaced => {
                self.replaced.store(true, Ordering::Release);
                self.close();
            }
        }
    }

    /// Says whether there are other members.
    pub(super) fn watch(&self, watched: bool) {
        let before = match watched {
            true => self.care.fetch_or(WATCHED, Ordering::AcqRel),
            false => self.care.fetch_and(!WATCHED, Ordering::AcqRel),
        };
        if (before & WATCHED != 0) != watched {
            self.event_signal.raise();
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.event_signal.raise();
        self.batch_signal.raise();
    }
}
