//! Damage: every way of it against a naive model of what must be found.
//!
//! The model knows where each frame ends in the undamaged file, nothing else.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::super::frame::Frame;
use super::super::recovery::{Check, recover};
use super::*;
use crate::error::ErrorKind;

const SALT: u32 = 99;

/// A file of frames, and where each ends.
fn frames(sizes: &[usize]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for (number, &size) in (0..).zip(sizes) {
        let mut frame = Frame::new();
        frame.push(|out| out.resize(out.len() + size, 0xab));
        frame.finish(Timestamp(5));
        bytes.extend_from_slice(frame.seal(SALT, number));
        ends.push(bytes.len());
    }
    (bytes, ends)
}

/// The numbers found in a file with these bytes, or the kind of the refusal.
fn found(path: &Path, bytes: &[u8], check: Check) -> std::result::Result<Vec<u64>, ErrorKind> {
    fs::write(path, bytes).unwrap();
    let mut numbers = Vec::new();
    recover(path, SALT, 0, check, |header, _, _| {
        numbers.push(header.first);
        Ok(())
    })
    .map_err(|error| {
        assert!(error.to_string().contains("byte"), "{error}");
        error.kind()
    })?;
    Ok(numbers)
}

fn first(count: usize) -> Vec<u64> {
    (0..count as u64).collect()
}

#[test]
fn a_tail_cut_anywhere_leaves_the_whole_frames() {
    let directory = TestDirectory::new();
    fs::create_dir_all(&directory.0).unwrap();
    let path = directory.0.join("f");
    let (bytes, ends) = frames(&[0, 7, 30]);
    for cut in 0..=bytes.len() {
        let whole = ends.iter().filter(|&&end| end <= cut).count();
        assert_eq!(
            found(&path, &bytes[..cut], Check::Tail),
            Ok(first(whole)),
            "cut {cut}"
        );
        let left = fs::metadata(&path).unwrap().len();
        let kept = whole.checked_sub(1).map_or(0, |last| ends[last]);
        assert_eq!(left, kept as u64, "cut {cut}");
    }
}

#[test]
fn a_flipped_bit_is_torn_in_the_last_frame_and_refused_before_it() {
    let directory = TestDirectory::new();
    fs::create_dir_all(&directory.0).unwrap();
    let path = directory.0.join("f");
    let (bytes, ends) = frames(&[3, 7, 9]);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let frame = ends.iter().filter(|&&end| end <= bit / 8).count();
        let want = if frame == 2 {
            Ok(first(2))
        } else {
            Err(ErrorKind::Corrupt)
        };
        assert_eq!(found(&path, &damaged, Check::Tail), want, "bit {bit}");
    }
}

#[test]
fn earlier_segments_refuse_even_a_torn_tail() {
    let directory = TestDirectory::new();
    fs::create_dir_all(&directory.0).unwrap();
    let path = directory.0.join("f");
    let (bytes, _) = frames(&[3, 7]);
    let torn = &bytes[..bytes.len() - 1];
    assert_eq!(found(&path, torn, Check::Complete), Err(ErrorKind::Corrupt));
    assert_eq!(found(&path, &bytes, Check::Complete), Ok(first(2)));
}

#[test]
fn a_frame_that_a_payload_contains_does_not_count_as_following() {
    let directory = TestDirectory::new();
    fs::create_dir_all(&directory.0).unwrap();
    let path = directory.0.join("f");
    let (mut bytes, _) = frames(&[3]);
    let mut inner = Frame::new();
    inner.finish(Timestamp(0));
    let mut outer = Frame::new();
    outer.push(|out| out.extend_from_slice(inner.seal(SALT + 1, 7)));
    outer.push(|out| out.extend_from_slice(&[1; 100]));
    outer.finish(Timestamp(0));
    bytes.extend_from_slice(&outer.seal(SALT, 1)[..120]);
    assert_eq!(found(&path, &bytes, Check::Tail), Ok(first(1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The whole broker: records, then a torn or a flipped tail segment, then what is read and what comes after.
    #[test]
    fn the_log_holds_what_the_model_holds(
        sizes in proptest::collection::vec(0_usize..200, 1..25),
        cut in any::<prop::sample::Index>(),
        flip in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let directory = TestDirectory::new();
        let mut options = options();
        options.segment_bytes = 700;
        options.fsync = Fsync::Never;
        let log = directory.open(options.clone()).unwrap();
        topic(&log, "t", 1);
        // Which file each record is in, and where it ends there.
        let mut ends = Vec::new();
        for &size in &sizes {
            put(&log, "t", 0, Message::new(vec![b'x'; size]));
            let last = directory.segments("t").pop().unwrap();
            ends.push((last.clone(), fs::metadata(&last).unwrap().len()));
        }
        drop(log);
        let last = directory.segments("t").pop().unwrap();
        let earlier = ends.iter().filter(|(file, _)| *file != last).count();
        let ends: Vec<u64> = ends.iter().filter(|(file, _)| *file == last).map(|(_, end)| *end).collect();
        let mut bytes = fs::read(&last).unwrap();
        bytes.truncate(cut.index(bytes.len() + 1));
        let whole = ends.iter().filter(|&&end| end <= bytes.len() as u64).count();
        let mut kept = Some(whole);
        if let Some(flip) = flip && !bytes.is_empty() {
            let at = flip.index(bytes.len());
            bytes[at] ^= 0x10;
            let frame = ends.iter().filter(|&&end| end <= at as u64).count();
            if frame < whole {
                kept = (frame + 1 == whole).then_some(frame);
            }
        }
        fs::write(&last, &bytes).unwrap();
        match (kept, directory.open(options)) {
            (None, Err(error)) => prop_assert_eq!(error.kind(), ErrorKind::Corrupt),
            (Some(kept), Ok(log)) => {
                let kept = earlier + kept;
                let read = read_all(&log, "t", 0).unwrap();
                let want: Vec<_> = (0..).zip(&sizes).take(kept).map(|(offset, &size)| (offset, vec![b'x'; size])).collect();
                prop_assert_eq!(read, want);
                prop_assert_eq!(put(&log, "t", 0, Message::new("next")).offset, kept as u64);
            }
            (kept, opened) => prop_assert!(false, "kept {:?}, opened {:?}", kept, opened.map(drop)),
        }
    }
}
