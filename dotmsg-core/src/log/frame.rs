//! A frame: the unit that is on disk whole or not at all.
//!
//! ```text
//! 0  magic "dmsg"    4 version    5 entries right before it that were not synced when it was written (3 bytes)
//! 8  length, header included    12 entries
//! 16 first number    24 stamp (ms)              32 CRC-32C of the body       36 CRC-32C of bytes 0..36
//! ```
//! All little-endian. The header has its own check, so a length is believed only when it is what was written, and a
//! damaged one never allocates. That check starts from a *salt* of the file's identity (topic, partition): a frame that
//! was copied from elsewhere, or that some payload contains, is none here. Record batches and position records are both
//! kept in frames.

use crate::clock::Timestamp;

/// Bytes of the header.
pub(super) const HEADER: usize = 40;
/// What every frame begins with.
pub(super) const MAGIC: [u8; 4] = *b"dmsg";
/// The format this release writes.
const VERSION: u8 = 1;
/// What three bytes hold. Beyond it a frame claims too much, and a power cut may look like damage.
const MOST_UNSYNCED: u64 = (1 << 24) - 1;

/// What a frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the frame, header included.
    pub(super) length: u32,
    /// Entries in the body.
    pub(super) count: u32,
    /// Number of the first entry: an offset, or a sequence number.
    pub(super) first: u64,
    /// Everything below this number was synced when it was written.
    pub(super) synced: u64,
    /// When it was appended.
    pub(super) stamp: Timestamp,
    body_check: u32,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoFrame {
    /// Not, or no longer, what was written here.
    Damaged,
    /// Written by a release with another format.
    Version(u8),
}

/// A frame in the making: body first, then [`Frame::finish`], then its number.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: Vec<u8>,
    count: u32,
}

impl Frame {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; HEADER],
            count: 0,
        }
    }

    /// Adds an entry, encoded by `write`.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.count += 1;
    }

    /// Bytes, header included.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Entries.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Computes the check of the body and stamps it: the part of the work that needs no number yet.
    pub(super) fn finish(&mut self, stamp: Timestamp) {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let check = crc32c::crc32c(&self.bytes[HEADER..]);
        self.bytes[0..4].copy_from_slice(&MAGIC);
        self.bytes[4] = VERSION;
        self.bytes[8..12].copy_from_slice(&length.to_le_bytes());
        self.bytes[12..16].copy_from_slice(&self.count.to_le_bytes());
        self.bytes[24..32].copy_from_slice(&stamp.0.to_le_bytes());
        self.bytes[32..36].copy_from_slice(&check.to_le_bytes());
    }

    /// Its bytes, once it was numbered.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Numbers it, everything before it being synced; gives the bytes to write.
    pub(super) fn seal(&mut self, salt: u32, first: u64) -> &[u8] {
        self.seal_behind(salt, first, first)
    }

    /// Numbers it, everything below `synced` being synced; gives the bytes to write.
    pub(super) fn seal_behind(&mut self, salt: u32, first: u64, synced: u64) -> &[u8] {
        let unsynced = first.saturating_sub(synced).min(MOST_UNSYNCED);
        self.bytes[5..8].copy_from_slice(&unsynced.to_le_bytes()[..3]);
        self.bytes[16..24].copy_from_slice(&first.to_le_bytes());
        let check = crc32c::crc32c_append(salt, &self.bytes[..36]);
        self.bytes[36..40].copy_from_slice(&check.to_le_bytes());
        &self.bytes
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut number = [0; N];
    number.copy_from_slice(&bytes[at..at + N]);
    number
}

/// Reads the header at the start of `bytes`.
pub(super) fn header(bytes: &[u8], salt: u32) -> Result<Header, NoFrame> {
    if bytes.len() < HEADER || bytes[..4] != MAGIC {
        return Err(NoFrame::Damaged);
    }
    if crc32c::crc32c_append(salt, &bytes[..36]) != u32::from_le_bytes(number(bytes, 36)) {
        return Err(NoFrame::Damaged);
    }
    if bytes[4] != VERSION {
        return Err(NoFrame::Version(bytes[4]));
    }
    let first = u64::from_le_bytes(number(bytes, 16));
    let unsynced = u32::from_le_bytes([bytes[5], bytes[6], bytes[7], 0]);
    let header = Header {
        length: u32::from_le_bytes(number(bytes, 8)),
        count: u32::from_le_bytes(number(bytes, 12)),
        first,
        synced: first.saturating_sub(u64::from(unsynced)),
        stamp: Timestamp(i64::from_le_bytes(number(bytes, 24))),
        body_check: u32::from_le_bytes(number(bytes, 32)),
    };
    if (header.length as usize) < HEADER {
        return Err(NoFrame::Damaged);
    }
    Ok(header)
}

impl Header {
    /// Whether `frame` (header included) has the body that was written.
    pub(super) fn matches(&self, frame: &[u8]) -> bool {
        frame.len() == self.length as usize && crc32c::crc32c(&frame[HEADER..]) == self.body_check
    }

    /// The number after its last entry.
    pub(super) fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Vec<u8> {
        let mut frame = Frame::new();
        frame.push(|out| out.extend_from_slice(b"hello"));
        frame.finish(Timestamp(9));
        frame.seal(5, 41).to_vec()
    }

    #[test]
    fn a_frame_is_read_back_under_its_own_salt_only() {
        let bytes = sealed();
        let read = header(&bytes, 5).unwrap();
        assert_eq!(
            (read.first, read.next(), read.stamp),
            (41, 42, Timestamp(9))
        );
        assert!(read.matches(&bytes));
        assert_eq!(read.synced, 41);
        let mut behind = Frame::new();
        behind.finish(Timestamp(9));
        let read = header(behind.seal_behind(5, 41, 38), 5).unwrap();
        assert_eq!((read.first, read.synced), (41, 38));
        assert_eq!(header(&bytes, 6), Err(NoFrame::Damaged));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = sealed();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let whole = header(&damaged, 5).is_ok_and(|header| header.matches(&damaged));
            assert!(!whole, "bit {bit}");
        }
    }

    #[test]
    fn another_format_is_told_apart_from_damage() {
        let mut bytes = sealed();
        bytes[4] = 2;
        let check = crc32c::crc32c_append(5, &bytes[..36]);
        bytes[36..40].copy_from_slice(&check.to_le_bytes());
        assert_eq!(header(&bytes, 5), Err(NoFrame::Version(2)));
    }
}
