//! The paced, resumable run of a replay.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::filter::Filter;
use super::letter::{replayed, sent_again};
use super::letters::Found;
use super::{DeadLetter, DeadLetters, ReplayCursor, origin};
use crate::backend::{Backend, PublishOutcome, PublishRecord, Publisher};
use crate::error::{Error, ErrorKind, Result};
use crate::message::Message;
use crate::router::Topology;

/// How often a message is replayed before the loop guard leaves it out, unless the options say otherwise: a person has
/// looked at it three times by then.
const DEFAULT_MAX_REPLAYS: u32 = 3;

/// A replay of a group's dead letters: which, how fast, from where. See the [module](super).
///
/// ```no_run
/// # use std::sync::Arc;
/// # use dotmsg_core::{backend::Backend, error::Result, replay::Replay, router::Topology};
/// # async fn example(backend: Arc<dyn Backend>, topology: Arc<Topology>) -> Result<()> {
/// let report = Replay::new(backend, topology)
///     .kind("no_rate")
///     .per_second(100)
///     .run()
///     .await?;
/// println!("{} replayed", report.replayed);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Replay {
    backend: Arc<dyn Backend>,
    topology: Arc<Topology>,
    filter: Filter,
    pace: Option<Duration>,
    max_replays: u32,
    dry_run: bool,
    to_origin: bool,
    from: ReplayCursor,
}

/// What became of one dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayVerdict {
    /// Published and confirmed (in a dry run: would have been).
    Replayed,
    /// Left out by a condition.
    Filtered,
    /// Left out by the loop guard: it was replayed as often as allowed.
    Exhausted,
    /// Written by reference, and its origin does not hold it any more.
    Gone,
    /// Too large for the topic it is to go to.
    TooLarge,
    /// Not a dead letter of this group and topic.
    Foreign,
}

/// One dead letter that is through.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplayStep {
    /// The dead letter; `None` for a record that is none ([`ReplayVerdict::Foreign`]).
    pub letter: Option<DeadLetter>,
    /// What became of it.
    pub verdict: ReplayVerdict,
    /// Where a later run goes on after it.
    pub cursor: ReplayCursor,
}

/// How many dead letters came to what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Published and confirmed; in a dry run, those that would have been.
    pub replayed: u64,
    /// Left out by a condition.
    pub filtered: u64,
    /// Left out by the loop guard.
    pub exhausted: u64,
    /// By reference, and gone at their origin.
    pub gone: u64,
    /// Too large for the topic they were to go to.
    pub too_large: u64,
    /// Records that are no dead letters of this group and topic.
    pub foreign: u64,
    /// Where a later run goes on.
    pub cursor: ReplayCursor,
}

impl Replay {
    /// Every dead letter of a route's topology on its backend, from the first, as fast as it goes.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, topology: Arc<Topology>) -> Self {
        Self {
            backend,
            topology,
            filter: Filter::default(),
            pace: None,
            max_replays: DEFAULT_MAX_REPLAYS,
            dry_run: false,
            to_origin: false,
            from: ReplayCursor::start(),
        }
    }

    /// Only those whose last failure was of this kind.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.filter.kind(kind.into());
        self
    }

    /// Only those of this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.filter.key(Some(key.into()));
        self
    }

    /// Only the one of this identity (header `dotmsg-id`, else `topic/partition/offset` of its origin).
    #[must_use]
    pub fn id(mut self, id: impl Into<Bytes>) -> Self {
        self.filter.id(id.into());
        self
    }

    /// Only those that this says yes to. Several conditions must all hold.
    #[must_use]
    pub fn filter(
        mut self,
        condition: impl Fn(&DeadLetter) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.filter.add(condition);
        self
    }

    /// At most this many per second. Default: no limit; 0 counts as 1.
    #[must_use]
    pub fn per_second(mut self, messages: u32) -> Self {
        self.pace = Some(Duration::from_secs(1) / messages.max(1));
        self
    }

    /// Leaves out what was replayed this often already. Default 3.
    #[must_use]
    pub fn max_replays(mut self, max: u32) -> Self {
        self.max_replays = max;
        self
    }

    /// Publishes nothing and tells what it would do.
    #[must_use]
    pub fn dry_run(mut self, dry: bool) -> Self {
        self.dry_run = dry;
        self
    }

    /// Publishes to the topic the messages are from, where *every* group gets them again, and behind what was published
    /// since. They carry no control headers, so that neither attempts nor replays are counted on.
    #[must_use]
    pub fn to_origin(mut self, to_origin: bool) -> Self {
        self.to_origin = to_origin;
        self
    }

    /// Goes on where an earlier run stopped.
    #[must_use]
    pub fn resume_from(mut self, cursor: ReplayCursor) -> Self {
        self.from = cursor;
        self
    }

    /// Starts a run that the caller drives step by step, to store the cursor after each.
    ///
    /// # Errors
    /// The dead-letter topic does not exist; the backend's own.
    pub async fn start(self) -> Result<ReplayRun> {
        let topic = &self.topology.dead_letter;
        let letters = DeadLetters::open(&*self.backend, topic, &self.from).await?;
        Ok(ReplayRun {
            letters,
            publisher: self.backend.publisher(),
            report: ReplayReport {
                cursor: self.from.clone(),
                ..ReplayReport::default()
            },
            next_at: None,
            current: None,
            options: self,
        })
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// As [`ReplayRun::next`]; where it stopped is lost then, so a long replay is better driven by [`Replay::start`].
    pub async fn run(self) -> Result<ReplayReport> {
        let mut run = self.start().await?;
        while run.next().await?.is_some() {}
        Ok(run.report)
    }
}

/// A replay under way.
#[derive(Debug)]
pub struct ReplayRun {
    options: Replay,
    letters: DeadLetters,
    publisher: Arc<dyn Publisher>,
    report: ReplayReport,
    next_at: Option<Instant>,
    /// Read, and not through yet: it stays here when a call fails or is dropped on the way.
    current: Option<Found>,
}

impl ReplayRun {
    /// What it came to so far.
    #[must_use]
    pub fn report(&self) -> &ReplayReport {
        &self.report
    }

    /// Takes the next dead letter; `None` at the end that the topic had at the start.
    ///
    /// # Errors
    /// The backend's. A publish that failed or was not answered is an error: the cursor stands before it, so that the next
    /// call, or a later run, repeats it (if it was appended after all, under the same identity). The same goes for a call
    /// that is dropped before its end.
    pub async fn next(&mut self) -> Result<Option<ReplayStep>> {
        if self.current.is_none() {
            self.current = self.letters.next_found().await?;
        }
        // A copy of the handle: messages are shared bytes.
        let Some((partition, offset, letter)) = self.current.clone() else {
            return Ok(None);
        };
        let verdict = match &letter {
            Some(letter) => self.take(letter).await?,
            None => ReplayVerdict::Foreign,
        };
        self.current = None;
        self.report.count(verdict);
        self.report.cursor.pass(partition, offset + 1);
        Ok(Some(ReplayStep {
            letter,
            verdict,
            cursor: self.report.cursor.clone(),
        }))
    }

    async fn take(&mut self, letter: &DeadLetter) -> Result<ReplayVerdict> {
        let options = &self.options;
        let lineage = &letter.lineage;
        let ours = lineage.topic == options.topology.source
            && *lineage.group == *options.topology.group()
            && lineage.partition == letter.partition;
        if !ours {
            return Ok(ReplayVerdict::Foreign);
        }
        if !options.filter.takes(letter) {
            return Ok(ReplayVerdict::Filtered);
        }
        if letter.replays() >= options.max_replays && !options.to_origin {
            return Ok(ReplayVerdict::Exhausted);
        }
        let found;
        let message = if letter.by_reference {
            match origin::message_at(&*options.backend, letter).await? {
                Some(message) => {
                    found = message;
                    &found
                }
                None => return Ok(ReplayVerdict::Gone),
            }
        } else {
            &letter.message
        };
        self.pace().await;
        if self.options.dry_run {
            return Ok(ReplayVerdict::Replayed);
        }
        self.publish(letter, message).await
    }

    async fn publish(&self, letter: &DeadLetter, message: &Message) -> Result<ReplayVerdict> {
        let topology = &self.options.topology;
        let (topic, message) = if self.options.to_origin {
            (&topology.source, sent_again(letter, message))
        } else {
            (&topology.replay, replayed(letter, message))
        };
        let record = PublishRecord {
            topic: Arc::clone(topic),
            partition: Some(letter.partition),
            message,
        };
        match self.publisher.publish(vec![record]).await.pop() {
            Some(PublishOutcome::Ok(_)) => Ok(ReplayVerdict::Replayed),
            Some(PublishOutcome::Failed(error)) if error.kind() == ErrorKind::TooLarge => {
                Ok(ReplayVerdict::TooLarge)
            }
            Some(PublishOutcome::Failed(error) | PublishOutcome::Unknown(error)) => Err(error),
            None => Err(Error::new(
                ErrorKind::Unexpected,
                "replay",
                "the backend gave no outcome",
            )),
        }
    }

    async fn pace(&mut self) {
        let Some(pace) = self.options.pace else {
            return tokio::task::coop::consume_budget().await;
        };
        if let Some(at) = self.next_at {
            tokio::time::sleep_until(at).await;
        }
        self.next_at = Some(Instant::now() + pace);
    }
}

impl ReplayReport {
    fn count(&mut self, verdict: ReplayVerdict) {
        *match verdict {
            ReplayVerdict::Replayed => &mut self.replayed,
            ReplayVerdict::Filtered => &mut self.filtered,
            ReplayVerdict::Exhausted => &mut self.exhausted,
            ReplayVerdict::Gone => &mut self.gone,
            ReplayVerdict::TooLarge => &mut self.too_large,
            ReplayVerdict::Foreign => &mut self.foreign,
        } += 1;
    }
}
