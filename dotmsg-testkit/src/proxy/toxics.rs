//! What may be wrong with one direction of a line, as plain data.

use std::time::Duration;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the broker.
    ToServer = 0,
    /// From the broker to the client.
    ToClient = 1,
}

/// What is wrong with one direction; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Toxics {
    /// How long bytes are under way.
    pub delay: Duration,
    /// Up to so much longer, at random; bytes still arrive in order.
    pub jitter: Duration,
    /// Bytes per second, at most; `None`: as fast as it goes.
    pub bytes_per_second: Option<u64>,
    /// Bytes arrive in pieces of this size at most; `None`: as they come.
    pub slice: Option<usize>,
    /// A pause after each piece.
    pub slice_pause: Duration,
    /// Half-open: bytes vanish, and neither their end nor an answer is told. A connection that has lost bytes stays silent
    /// in this direction, also when the line is healed; as when a router forgot it.
    pub swallow: bool,
    /// Nothing passes until this is taken back; nothing is lost. As in a partition of the network that ends.
    pub hold: bool,
    /// The connection is reset after so many bytes in this direction, counted from its beginning: in the middle of a frame.
    pub reset_after: Option<u64>,
}

impl Toxics {
    /// A line as it should be.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes are under way for so long.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// And up to so much longer, at random.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// No more bytes per second than this; 0 counts as 1.
    #[must_use]
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bytes_per_second = Some(bytes_per_second.max(1));
        self
    }

    /// Bytes arrive in pieces of this size at most, with a pause after each; 0 counts as 1.
    #[must_use]
    pub fn slice(mut self, bytes: usize, pause: Duration) -> Self {
        (self.slice, self.slice_pause) = (Some(bytes.max(1)), pause);
        self
    }

    /// Half-open: bytes vanish.
    #[must_use]
    pub fn swallow(mut self) -> Self {
        self.swallow = true;
        self
    }

    /// Nothing passes until this is taken back.
    #[must_use]
    pub fn hold(mut self) -> Self {
        self.hold = true;
        self
    }

    /// A reset after so many bytes of a connection.
    #[must_use]
    pub fn reset_after(mut self, bytes: u64) -> Self {
        self.reset_after = Some(bytes);
        self
    }
}
