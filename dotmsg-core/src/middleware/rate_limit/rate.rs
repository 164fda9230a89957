//! So many messages in so much time, and its text.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The most messages of a [`Rate`]: beyond it nobody limits anything, and it leaves the arithmetic room.
const MOST: u32 = 1_000_000_000;

const UNITS: [(&str, Duration); 4] = [
    ("s", Duration::from_secs(1)),
    ("m", Duration::from_secs(60)),
    ("h", Duration::from_secs(60 * 60)),
    ("d", Duration::from_secs(24 * 60 * 60)),
];

/// So many messages in so much time, `"100/s"` as text: per `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    messages: u32,
    per: Duration,
}

impl Rate {
    /// `messages` within `per`.
    ///
    /// # Panics
    /// When there are none or more than a billion of them, or `per` is zero or longer than ten years.
    #[must_use]
    pub const fn new(messages: u32, per: Duration) -> Self {
        assert!(
            1 <= messages && messages <= MOST,
            "a rate is of one to a billion messages"
        );
        assert!(
            !per.is_zero() && per.as_secs() <= 3650 * 24 * 60 * 60,
            "a rate is per a time above zero, of ten years at most"
        );
        Self { messages, per }
    }

    /// How many.
    #[must_use]
    pub const fn messages(&self) -> u32 {
        self.messages
    }

    /// Within what time.
    #[must_use]
    pub const fn per(&self) -> Duration {
        self.per
    }
}

/// A text that is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARate;

impl fmt::Display for NotARate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a rate such as \"100/s\": one to a billion messages per s, m, h or d")
    }
}

impl std::error::Error for NotARate {}

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        let (messages, unit) = text.split_once('/').ok_or(NotARate)?;
        let (_, per) = UNITS.iter().find(|known| known.0 == unit).ok_or(NotARate)?;
        if !messages.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotARate);
        }
        let messages = messages.parse().map_err(|_| NotARate)?;
        match messages {
            1..=MOST => Ok(Self::new(messages, *per)),
            _ => Err(NotARate),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|known| known.1 == self.per) {
            Some((unit, _)) => write!(f, "{}/{unit}", self.messages),
            None => write!(f, "{}/{:?}", self.messages, self.per),
        }
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in ["1/s", "6000/m", "7/h", "1000000000/d"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        let odd = Rate::new(3, Duration::from_millis(1_500));
        assert_eq!(odd.to_string(), "3/1.5s");
    }

    #[test]
    fn what_is_no_rate() {
        for text in [
            "",
            "100",
            "/s",
            "0/s",
            "+1/s",
            "-1/s",
            "1.5/s",
            "100/",
            "100/ms",
            "100 / s",
            "100/s/s",
            "1000000001/s",
            "99999999999/s",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(NotARate), "{text}");
        }
    }
}
