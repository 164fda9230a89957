//! The bytes under a position record: LEB128 numbers, and a reader that trusts nothing.
//!
//! No checksum: every store of records has its own. What must stay true: the reader never panics, and a length is
//! believed only as far as there are bytes left that could carry it.

use std::fmt;

/// Why bytes are not a position record that this release can use.
///
/// The partition must stop: the record may be the only trace of messages that wait in a tier.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// The record has a format that this release does not read.
    UnknownVersion {
        /// The format found.
        found: u8,
        /// The newest format that this release reads.
        newest: u8,
    },
    /// The record ends within a field.
    Truncated {
        /// The field.
        what: &'static str,
    },
    /// The bytes contradict the format.
    Malformed {
        /// The field, and the rule that it breaks.
        what: &'static str,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion { found, newest } => write!(
                f,
                "position record has format {found}, this release reads up to {newest}: \
                 run the release that wrote it, or a newer one"
            ),
            Self::Truncated { what } => write!(f, "position record ends within `{what}`"),
            Self::Malformed { what } => write!(f, "position record is damaged ({what})"),
        }
    }
}

impl std::error::Error for RecordError {}

/// Appends a number, seven bits a byte, lowest first.
pub(super) fn put(out: &mut Vec<u8>, value: impl Into<u128>) {
    let mut value = value.into();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a text with its length in bytes.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Small numbers for small differences of either sign.
pub(super) fn zigzag(value: i128) -> u128 {
    ((value << 1) ^ (value >> 127)) as u128
}

/// The reverse of [`zigzag`].
pub(super) fn unzigzag(value: u128) -> i128 {
    (value >> 1) as i128 ^ -((value & 1) as i128)
}

/// The rest of the bytes to decode. `what` names the field, for the error.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn byte(&mut self, what: &'static str) -> Result<u8, RecordError> {
        let (first, rest) = self
            .rest
            .split_first()
            .ok_or(RecordError::Truncated { what })?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn bytes<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], RecordError> {
        let (first, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(RecordError::Truncated { what })?;
        self.rest = rest;
        Ok(*first)
    }

    /// A number of up to 80 bits: a 64-bit one with flags, or a difference of two.
    pub(super) fn wide(&mut self, what: &'static str) -> Result<u128, RecordError> {
        const LONGEST: u32 = 80;
        let (mut value, mut shift) = (0u128, 0);
        loop {
            let byte = self.byte(what)?;
            if shift >= LONGEST {
                return Err(RecordError::Malformed { what });
            }
            value |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, RecordError> {
        u64::try_from(self.wide(what)?).map_err(|_| RecordError::Malformed { what })
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, RecordError> {
        u32::try_from(self.wide(what)?).map_err(|_| RecordError::Malformed { what })
    }

    /// A number of things that take a byte at least: more than there are bytes left cannot be.
    pub(super) fn count(&mut self, what: &'static str) -> Result<usize, RecordError> {
        let count =
            usize::try_from(self.wide(what)?).map_err(|_| RecordError::Truncated { what })?;
        if count > self.rest.len() {
            return Err(RecordError::Truncated { what });
        }
        Ok(count)
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<String, RecordError> {
        let length = self.count(what)?;
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        let text = std::str::from_utf8(text).map_err(|_| RecordError::Malformed { what })?;
        Ok(text.to_owned())
    }

    /// Refuses bytes behind the last field.
    pub(super) fn finish(self) -> Result<(), RecordError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(RecordError::Malformed {
                what: "bytes behind the last field",
            })
        }
    }
}
