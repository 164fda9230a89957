//! The position record as the metadata of an offset commit.
//!
//! The metadata is a string, and the broker limits its length in UTF-16 units (`offset.metadata.max.bytes`, 4,096 by default:
//! `GroupMetadataManager` compares `String.length`). So the record is written with 15 bits to a unit, in code points that are
//! one unit each and no surrogate, which holds two and a half times as much as Base64. Stored with the offset, in one entry of
//! `__consumer_offsets`, it is one atomic value with it.

use bytes::Bytes;

/// What the metadata begins with: a format of this framework, number 1.
const MARK: &str = "dm1:";
/// The code points of the 15-bit values begin here: all below the surrogates, none a control character.
const BASE: u32 = 0x1000;
const BITS: u32 = 15;

/// The limit of a broker that was not told otherwise, in UTF-16 units.
pub(crate) const DEFAULT_LIMIT: usize = 4_096;

/// The largest record that fits into so many units.
pub(crate) const fn max_record_bytes(units: usize) -> usize {
    // One unit says how many bits of the last one count.
    units.saturating_sub(MARK.len() + 1) * BITS as usize / 8
}

/// The record as a string.
pub(crate) fn encode(record: &[u8]) -> String {
    let units = (record.len() * 8).div_ceil(BITS as usize);
    let mut text = String::with_capacity(MARK.len() + 3 * (units + 1));
    text.push_str(MARK);
    let filler = units * BITS as usize - record.len() * 8;
    text.push(char::from(b'a' + u8::try_from(filler).unwrap_or(0)));
    let (mut held, mut bits) = (0_u32, 0);
    for byte in record {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        if bits >= BITS {
            bits -= BITS;
            text.push(unit(held >> bits));
            held &= (1 << bits) - 1;
        }
    }
    if bits > 0 {
        text.push(unit(held << (BITS - bits)));
    }
    text
}

fn unit(value: u32) -> char {
    char::from_u32(BASE + value).expect("15 bits above the base are a character")
}

/// The record that a string holds; `None` when it is none of this framework's.
pub(crate) fn decode(text: &str) -> Option<Bytes> {
    let mut units = text.strip_prefix(MARK)?.chars();
    let filler = u32::from(units.next()?).checked_sub(u32::from('a'))?;
    let (mut record, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for unit in units {
        let value = u32::from(unit).checked_sub(BASE)?;
        if value >> BITS != 0 {
            return None;
        }
        held = (held << BITS) | value;
        bits += BITS;
        while bits >= 8 {
            bits -= 8;
            record.push(u8::try_from(held >> bits & 0xff).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    // A last unit with more than a byte of filler was pushed as one byte too many.
    if filler >= 8 {
        record.pop();
    }
    (filler < BITS && held == 0).then(|| record.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(record in prop::collection::vec(any::<u8>(), 0..600)) {
            let text = encode(&record);
            prop_assert_eq!(decode(&text), Some(Bytes::from(record)));
            prop_assert!(!text.contains('\0'));
        }

        #[test]
        fn nothing_panics(text in "dm1:[a-z]?[\u{1000}-\u{9fff}]{0,8}|.*") {
            let _ = decode(&text);
        }
    }

    #[test]
    fn the_largest_record_fits_and_one_byte_more_does_not() {
        let most = max_record_bytes(DEFAULT_LIMIT);
        assert!(encode(&vec![0xff; most]).encode_utf16().count() <= DEFAULT_LIMIT);
        assert!(encode(&vec![0xff; most + 2]).encode_utf16().count() > DEFAULT_LIMIT);
        assert_eq!(most, 7_670);
    }

    #[test]
    fn what_others_wrote_is_no_record() {
        for text in ["", "NO_METADATA", "dm1:", "dm2:a"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
