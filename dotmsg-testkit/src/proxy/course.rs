//! What becomes of the bytes of one direction of one connection: when they may pass, in which pieces, and whether at all.
//!
//! A state machine: time and randomness come from outside. What must stay true: bytes pass in the order in which they came; no
//! more than [`ROOM`] are under way, so that a slow line holds up its sender as a real one does.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Toxics;

/// Bytes that may be under way, what a real line and its buffers hold.
const ROOM: usize = 256 << 10;

/// The most that passes at once where nothing says less.
const PIECE: usize = 64 << 10;

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing is under way.
    Nothing,
    /// Nothing until the toxics change.
    Held,
    /// Nothing before this moment.
    At(Instant),
    /// Pass so many bytes now.
    Pass(usize),
    /// Reset the connection now.
    Reset,
}

/// One direction of one connection.
#[derive(Debug)]
pub(super) struct Course {
    under_way: VecDeque<(Instant, Bytes)>,
    room: usize,
    /// When the last bytes are due: none may be earlier than those before it.
    last_due: Option<Instant>,
    /// When the line is free again.
    free_at: Option<Instant>,
    passed: u64,
    silent: bool,
}

impl Course {
    pub(super) fn new() -> Self {
        Self {
            under_way: VecDeque::new(),
            room: ROOM,
            last_due: None,
            free_at: None,
            passed: 0,
            silent: false,
        }
    }

    /// Bytes that may be taken from the sender now; 0: it has to wait.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Whether bytes were lost, so that the receiver hears nothing more.
    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }

    /// Whether everything that came has passed.
    pub(super) fn is_through(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Bytes from the sender. `chance` is from 0 up to 1.
    pub(super) fn arrive(&mut self, now: Instant, bytes: Bytes, toxics: &Toxics, chance: f64) {
        if toxics.swallow || self.silent {
            self.silent = true;
            return;
        }
        let due = now + toxics.delay + toxics.jitter.mul_f64(chance);
        let due = self.last_due.map_or(due, |last| last.max(due));
        self.last_due = Some(due);
        self.room = self.room.saturating_sub(bytes.len());
        self.under_way.push_back((due, bytes));
    }

    /// What is to be done, as things are now.
    pub(super) fn next(&mut self, now: Instant, toxics: &Toxics) -> Next {
        if toxics.swallow && !self.under_way.is_empty() {
            // What was under way is lost with what comes.
            self.under_way.clear();
            self.room = ROOM;
            self.silent = true;
        }
        let left = toxics
            .reset_after
            .map(|after| after.saturating_sub(self.passed));
        if left == Some(0) {
            return Next::Reset;
        }
        let Some((due, bytes)) = self.under_way.front() else {
            return Next::Nothing;
        };
        if toxics.hold {
            return Next::Held;
        }
        let at = self.free_at.map_or(*due, |free_at| free_at.max(*due));
        if at > now {
            return Next::At(at);
        }
        let most = bytes.len().min(PIECE).min(toxics.slice.unwrap_or(PIECE));
        let left = left.map_or(most, |left| usize::try_from(left).unwrap_or(most));
        Next::Pass(most.min(left))
    }

    /// Takes the bytes that pass now.
    ///
    /// # Panics
    /// When they are more than [`Course::next`] said.
    pub(super) fn pass(&mut self, now: Instant, count: usize, toxics: &Toxics) -> Bytes {
        let (_, bytes) = self.under_way.front_mut().expect("bytes are under way");
        let piece = bytes.split_to(count);
        if bytes.is_empty() {
            self.under_way.pop_front();
        }
        self.room = (self.room + count).min(ROOM);
        self.passed += count as u64;
        let takes = toxics.bytes_per_second.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(count as f64 / rate as f64)
        });
        let pause = match toxics.slice {
            Some(_) => toxics.slice_pause,
            None => Duration::ZERO,
        };
        self.free_at = Some(now + takes + pause);
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn arrived(course: &mut Course, now: Instant, text: &'static str, toxics: &Toxics) {
        course.arrive(now, Bytes::from(text), toxics, 0.5);
    }

    #[test]
    fn a_delay_keeps_order_also_when_it_shrinks() {
        let (now, mut course) = (Instant::now(), Course::new());
        let slow = Toxics::new().delay(10 * MS).jitter(4 * MS);
        arrived(&mut course, now, "a", &slow);
        let quick = Toxics::new();
        arrived(&mut course, now + MS, "b", &quick);
        assert_eq!(course.next(now + MS, &quick), Next::At(now + 12 * MS));
        let later = now + 12 * MS;
        assert_eq!(course.next(later, &quick), Next::Pass(1));
        assert_eq!(course.pass(later, 1, &quick), "a");
        assert_eq!(course.next(later, &quick), Next::Pass(1));
        assert_eq!(course.pass(later, 1, &quick), "b");
        assert_eq!(course.next(later, &quick), Next::Nothing);
    }

    #[test]
    fn a_narrow_line_is_free_when_the_bytes_are_through() {
        let (now, mut course) = (Instant::now(), Course::new());
        let narrow = Toxics::new().bandwidth(1_000).slice(10, MS);
        arrived(&mut course, now, "0123456789abcdef", &narrow);
        assert_eq!(course.next(now, &narrow), Next::Pass(10));
        course.pass(now, 10, &narrow);
        assert_eq!(course.next(now, &narrow), Next::At(now + 11 * MS));
        assert_eq!(course.next(now + 11 * MS, &narrow), Next::Pass(6));
    }

    #[test]
    fn a_reset_comes_after_exactly_so_many_bytes() {
        let (now, mut course) = (Instant::now(), Course::new());
        let toxics = Toxics::new().reset_after(3);
        arrived(&mut course, now, "0123456789", &toxics);
        assert_eq!(course.next(now, &toxics), Next::Pass(3));
        course.pass(now, 3, &toxics);
        assert_eq!(course.next(now, &toxics), Next::Reset);
    }

    #[test]
    fn what_is_swallowed_is_lost_for_good_and_what_is_held_is_not() {
        let (now, mut course) = (Instant::now(), Course::new());
        let (well, held) = (Toxics::new(), Toxics::new().hold());
        arrived(&mut course, now, "a", &held);
        assert_eq!(course.next(now, &held), Next::Held);
        assert_eq!(course.next(now, &well), Next::Pass(1));
        assert_eq!(course.next(now, &Toxics::new().swallow()), Next::Nothing);
        arrived(&mut course, now, "b", &well);
        assert_eq!(course.next(now, &well), Next::Nothing);
        assert!(course.is_silent());
    }

    #[test]
    fn a_full_line_has_no_room() {
        let (now, mut course) = (Instant::now(), Course::new());
        let held = Toxics::new().hold();
        course.arrive(now, Bytes::from(vec![0; ROOM]), &held, 0.0);
        assert_eq!(course.room(), 0);
        let well = Toxics::new();
        assert_eq!(course.next(now, &well), Next::Pass(PIECE));
        course.pass(now, PIECE, &well);
        assert_eq!(course.room(), PIECE);
    }
}
