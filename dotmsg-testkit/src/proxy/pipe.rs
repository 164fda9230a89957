//! One direction of one connection: reads, asks the course, writes.

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Toxics;
use super::course::{Course, Next};

/// Bytes read at once, at most.
const READ: usize = 16 << 10;

/// What a direction is told.
pub(super) struct Line<'a> {
    pub(super) toxics: watch::Receiver<Toxics>,
    pub(super) seed: u64,
    /// Counts the bytes that have passed.
    pub(super) passed: &'a AtomicU64,
}

/// Passes bytes on until the sender is through and everything has passed.
///
/// # Errors
/// A socket failed, or the toxics ask for a reset.
pub(super) async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut line: Line<'_>,
) -> io::Result<()> {
    let mut course = Course::new();
    let mut random = fastrand::Rng::with_seed(line.seed);
    let mut buffer = vec![0; READ];
    let mut open = true;
    loop {
        let toxics = line.toxics.borrow_and_update().clone();
        let next = course.next(Instant::now(), &toxics);
        match next {
            Next::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
            Next::Pass(count) => {
                let piece = course.pass(Instant::now(), count, &toxics);
                to.write_all(&piece).await?;
                let passed = u64::try_from(piece.len()).unwrap_or(0);
                line.passed.fetch_add(passed, Ordering::SeqCst);
                continue;
            }
            Next::Nothing if !open && course.is_through() => break,
            Next::Nothing | Next::Held | Next::At(_) => {}
        }
        let due = async {
            match next {
                Next::At(at) => sleep_until(at).await,
                _ => pending().await,
            }
        };
        let room = course.room().min(READ);
        tokio::select! {
            biased;
            // The proxy keeps the sender for as long as connections are served.
            _ = line.toxics.changed() => {}
            () = due => {}
            read = from.read(&mut buffer[..room]), if open && room > 0 => match read? {
                0 => open = false,
                count => {
                    let bytes = Bytes::copy_from_slice(&buffer[..count]);
                    course.arrive(Instant::now(), bytes, &toxics, random.f64());
                }
            },
        }
    }
    if course.is_silent() {
        // The end is not told either: only a cut of the whole connection ends it.
        return pending().await;
    }
    to.shutdown().await
}
