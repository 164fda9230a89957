//! Damage: every way of it against a naive model of what must be found.
//!
//! The model knows where each frame ends in the undamaged file, and how many frames were noted as confirmed.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use proptest::prelude::*;

use super::super::aside::MOST_COPIES;
use super::super::disk::{Disk, DiskFile};
use super::super::frame::Frame;
use super::super::recovery::{Check, READS, Tail, recover};
use super::*;
use crate::backend::{CommitOutcome, Progress};
use crate::error::ErrorKind;

const SALT: u32 = 99;

/// A disk that syncs nothing: these tests cut a thousand files.
#[derive(Debug)]
pub(super) struct Unsynced;

#[derive(Debug)]
struct UnsyncedFile(fs::File);

impl Disk for Unsynced {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(UnsyncedFile(fs::File::create_new(path)?)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = fs::OpenOptions::new().append(true).open(path)?;
        Ok(Box::new(UnsyncedFile(file)))
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        fs::write(path, contents)
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        fs::OpenOptions::new()
            .write(true)
            .open(path)?
            .set_len(bytes)
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for UnsyncedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

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
fn found(path: &Path, bytes: &[u8], check: Check<'_>) -> std::result::Result<Vec<u64>, ErrorKind> {
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

/// The tail of a file of which the first `confirmed` frames were noted.
fn tail(confirmed: usize) -> Check<'static> {
    Check::Tail(Tail {
        confirmed: confirmed as u64,
        damaged: DamagedTail::Refuse,
        disk: &Unsynced,
    })
}

/// What was kept aside of a file, in the order of the names.
fn kept(path: &Path) -> Vec<Vec<u8>> {
    let name = format!("{}.cut-", path.file_name().unwrap().to_str().unwrap());
    let mut files: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&name)
        })
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A directory with nothing in it but the file that is to be written next.
fn one_file() -> (TestDirectory, std::path::PathBuf) {
    let directory = TestDirectory::new();
    fs::create_dir_all(&directory.0).unwrap();
    let path = directory.0.join("f");
    (directory, path)
}

fn first(count: usize) -> Vec<u64> {
    (0..count as u64).collect()
}

#[test]
fn a_tail_cut_anywhere_leaves_the_whole_frames() {
    let (bytes, ends) = frames(&[0, 7, 30]);
    for cut in 0..=bytes.len() {
        for confirmed in 0..=ends.len() {
            let (_directory, path) = one_file();
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            let left = found(&path, &bytes[..cut], tail(confirmed));
            if whole < confirmed {
                assert_eq!(left, Err(ErrorKind::Corrupt), "cut {cut} of {confirmed}");
                assert_eq!(fs::read(&path).unwrap(), bytes[..cut], "untouched");
                assert!(kept(&path).is_empty());
                continue;
            }
            assert_eq!(left, Ok(first(whole)), "cut {cut}");
            let end = whole.checked_sub(1).map_or(0, |last| ends[last]);
            assert_eq!(fs::read(&path).unwrap(), bytes[..end], "cut {cut}");
            let torn: Vec<_> = [bytes[end..cut].to_vec()]
                .into_iter()
                .filter(|torn| !torn.is_empty())
                .collect();
            assert_eq!(kept(&path), torn, "cut {cut}");
        }
    }
}

#[test]
fn a_flipped_bit_is_torn_in_an_unconfirmed_last_frame_and_refused_elsewhere() {
    let (bytes, ends) = frames(&[3, 7, 9]);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let frame = ends.iter().filter(|&&end| end <= bit / 8).count();
        for confirmed in 2..=ends.len() {
            let (_directory, path) = one_file();
            let cut = frame == 2 && confirmed == 2;
            let want = if cut {
                Ok(first(2))
            } else {
                Err(ErrorKind::Corrupt)
            };
            assert_eq!(
                found(&path, &damaged, tail(confirmed)),
                want,
                "bit {bit} of {confirmed}"
            );
            let torn = if cut {
                vec![damaged[ends[1]..].to_vec()]
            } else {
                Vec::new()
            };
            assert_eq!(kept(&path), torn, "bit {bit} of {confirmed}");
        }
    }
}

#[test]
fn a_later_cut_never_overwrites_what_an_earlier_one_kept() {
    let (_directory, path) = one_file();
    let (bytes, ends) = frames(&[3, 7]);
    for copies in 1..=MOST_COPIES + 1 {
        let mut torn = bytes[..bytes.len() - 1].to_vec();
        torn[ends[0]] = u8::try_from(copies).unwrap();
        assert_eq!(found(&path, &torn, tail(1)), Ok(first(1)));
        let kept = kept(&path);
        assert_eq!(kept.len(), copies.min(MOST_COPIES));
        let firsts: std::collections::BTreeSet<u8> = kept.iter().map(|kept| kept[0]).collect();
        assert_eq!(firsts.len(), kept.len());
    }
}

#[test]
fn confirmed_records_are_given_up_only_when_that_is_asked_for() {
    let (_directory, path) = one_file();
    let (bytes, ends) = frames(&[3, 7]);
    let cut = Check::Tail(Tail {
        confirmed: 2,
        damaged: DamagedTail::Cut,
        disk: &Unsynced,
    });
    assert_eq!(found(&path, &bytes[..ends[1] - 1], cut), Ok(first(1)));
    assert_eq!(kept(&path), [bytes[ends[0]..ends[1] - 1].to_vec()]);
    assert_eq!(found(&path, &bytes[..ends[0]], cut), Ok(first(1)));
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
    assert_eq!(found(&path, &bytes, tail(0)), Ok(first(1)));
}

#[test]
fn a_hole_before_a_frame_of_its_own_group_is_torn_and_before_a_later_one_damage() {
    for (synced, want) in [(1, Ok(first(1))), (2, Err(ErrorKind::Corrupt))] {
        let (_directory, path) = one_file();
        let (mut bytes, ends) = frames(&[3, 7]);
        bytes[ends[0]..].fill(0);
        let mut third = Frame::new();
        third.push(|out| out.extend_from_slice(b"third"));
        third.finish(Timestamp(5));
        bytes.extend_from_slice(third.seal_behind(SALT, 2, synced));
        assert_eq!(found(&path, &bytes, tail(1)), want, "synced below {synced}");
        let torn: Vec<_> = want.iter().map(|_| bytes[ends[0]..].to_vec()).collect();
        assert_eq!(kept(&path), torn);
    }
}

#[test]
fn a_torn_record_full_of_magic_is_searched_in_linear_time() {
    let directory = TestDirectory::new();
    fs::create_dir_all(&directory.0).unwrap();
    let path = directory.0.join("f");
    let (mut bytes, _) = frames(&[3]);
    bytes.extend_from_slice(&b"dmsg".repeat(1 << 20));
    let before = READS.get();
    assert_eq!(found(&path, &bytes, tail(0)), Ok(first(1)));
    // 4 MiB in windows of 64 KiB; a million when each place is read anew.
    let reads = READS.get() - before;
    assert!(reads < 100, "{reads}");
}

/// The files of a log as a power cut would leave them now, in a directory of their own.
fn image(directory: &TestDirectory) -> TestDirectory {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => copy(&entry.path(), &to),
                false => drop(fs::copy(entry.path(), to).unwrap()),
            }
        }
    }
    let image = TestDirectory::new();
    copy(&directory.0, &image.0);
    image
}

/// Cuts the last byte off the only segment of topic `t`.
fn tear(directory: &TestDirectory) -> std::path::PathBuf {
    let segment = directory.segments("t").pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes.pop();
    fs::write(&segment, bytes).unwrap();
    segment
}

#[test]
fn a_closed_log_that_lost_its_end_is_refused_with_file_and_remedy_until_it_is_given_up() {
    let directory = TestDirectory::new();
    let log = directory.open(options()).unwrap();
    topic(&log, "t", 2);
    for name in ["a", "b"] {
        put(&log, "t", 0, Message::new(name));
    }
    drop(log);
    let segment = tear(&directory);
    let error = directory.open(options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    for part in [
        segment.to_str().unwrap(),
        "byte",
        "confirmed up to 2",
        "on_damaged_tail",
    ] {
        assert!(
            error.to_string().contains(part) || format!("{error:?}").contains(part),
            "{part}: {error}"
        );
    }
    let mut cut = options();
    cut.on_damaged_tail = DamagedTail::Cut;
    drop(directory.open(cut).unwrap());
    assert_eq!(kept(&segment).len(), 1);
    let log = directory.open(options()).unwrap();
    assert_eq!(read_all(&log, "t", 0).unwrap(), [(0, b"a".to_vec())]);
    assert_eq!(put(&log, "t", 0, Message::new("c")).offset, 1);
    drop(log);
    fs::remove_file(&segment).unwrap();
    assert_eq!(
        directory.open(options()).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}

#[test]
fn without_fsync_a_torn_end_is_cut_even_after_closing() {
    let directory = TestDirectory::new();
    let mut never = options();
    never.fsync = Fsync::Never;
    let log = directory.open(never.clone()).unwrap();
    topic(&log, "t", 1);
    put(&log, "t", 0, Message::new("a"));
    drop(log);
    // What is found at an opening is not synced either.
    drop(directory.open(never.clone()).unwrap());
    tear(&directory);
    assert_eq!(
        read_all(&directory.open(never).unwrap(), "t", 0).unwrap(),
        []
    );
}

#[test]
fn a_journal_that_is_written_anew_says_the_last_commit_and_the_ends() {
    let directory = TestDirectory::new();
    let mut options = options();
    options.disk = Arc::new(Unsynced);
    let log = directory.open(options.clone()).unwrap();
    topic(&log, "t", 1);
    put(&log, "t", 0, Message::new("a"));
    let (mut source, control) = subscribe(&log, "g", "t").unwrap();
    let grant = assigned(&mut *source)[0].grant;
    let journal = directory.0.join("positions.journal");
    let mut written_anew = 0;
    for number in 1..12_u8 {
        let before = fs::metadata(&journal).unwrap().len();
        let record = vec![number; 300 << 10].into();
        let progress = Progress {
            partition: 0,
            grant,
            watermark: 0,
            record,
        };
        let committed = wait(control.commit(vec![progress])).remove(0);
        assert!(matches!(committed, CommitOutcome::Committed));
        written_anew += usize::from(fs::metadata(&journal).unwrap().len() < before);
        let opened = image(&directory);
        let opened = opened.open(options.clone()).unwrap();
        let positions = wait(opened.admin().positions("g", "t")).unwrap();
        assert_eq!(positions[0].1[0], number, "after a power cut");
        drop(opened);
        // Another one: an opening notes the ends that it finds.
        let image = image(&directory);
        let segment = image.segments("t").pop().unwrap();
        fs::write(&segment, "").unwrap();
        assert_eq!(
            image.open(options.clone()).unwrap_err().kind(),
            ErrorKind::Corrupt
        );
    }
    assert!(written_anew > 0);
}

#[test]
fn segments_of_one_partition_in_each_others_place_are_refused() {
    let directory = TestDirectory::new();
    let mut options = options();
    options.segment_bytes = 200;
    let log = directory.open(options.clone()).unwrap();
    topic(&log, "t", 1);
    for number in 0..4_u8 {
        put(&log, "t", 0, Message::new(vec![number; 150]));
    }
    drop(log);
    let segments = directory.segments("t");
    let contents: Vec<_> = segments
        .iter()
        .map(|file| fs::read(file).unwrap())
        .collect();
    for (to, from) in [(0, 1), (1, 0), (3, 2), (2, 3)] {
        fs::write(&segments[to], &contents[from]).unwrap();
        let opened = directory.open(options.clone());
        assert_eq!(
            opened.unwrap_err().kind(),
            ErrorKind::Corrupt,
            "{from} at {to}"
        );
        fs::write(&segments[to], &contents[to]).unwrap();
    }
    assert_eq!(
        read_all(&directory.open(options).unwrap(), "t", 0)
            .unwrap()
            .len(),
        4
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// A power cut, then damage: nothing that was there at the last commit is lost silently.
    #[test]
    fn what_was_there_at_the_last_commit_is_there_or_refused(
        before in 0_u64..6,
        after in 0_u64..4,
        closed in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let directory = TestDirectory::new();
        let mut options = options();
        options.disk = Arc::new(Unsynced);
        let log = directory.open(options.clone()).unwrap();
        topic(&log, "t", 1);
        let mut ends = Vec::new();
        let publish = |count, ends: &mut Vec<usize>| for _ in 0..count {
            put(&log, "t", 0, Message::new("some record"));
            ends.push(fs::metadata(&directory.segments("t")[0]).unwrap().len() as usize);
        };
        publish(before, &mut ends);
        let (mut source, control) = subscribe(&log, "g", "t").unwrap();
        let grant = assigned(&mut *source)[0].grant;
        let progress = Progress { partition: 0, grant, watermark: 0, record: "r".into() };
        let committed = wait(control.commit(vec![progress])).remove(0);
        prop_assert!(matches!(committed, CommitOutcome::Committed));
        publish(after, &mut ends);
        let mut noted = usize::try_from(before).unwrap();
        if closed {
            wait(log.close()).unwrap();
            noted = ends.len();
        }
        let image = image(&directory);
        let mut whole = 0;
        if let Some(segment) = image.segments("t").pop() {
            let mut bytes = fs::read(&segment).unwrap();
            bytes.truncate(cut.index(bytes.len() + 1));
            whole = ends.iter().filter(|&&end| end <= bytes.len()).count();
            fs::write(&segment, bytes).unwrap();
        }
        match image.open(options) {
            Ok(log) => {
                prop_assert!(whole >= noted, "{} of {}", whole, noted);
                prop_assert_eq!(read_all(&log, "t", 0).unwrap().len(), whole);
            }
            Err(error) => {
                prop_assert!(whole < noted, "{} of {}: {}", whole, noted, error);
                prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
            }
        }
    }
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
        options.disk = Arc::new(Unsynced);
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
