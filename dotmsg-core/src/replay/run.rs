//! The run of a replay: read, choose, publish, settle, page by page.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::letters::{Found, ranges};
use super::page::{Became, PAGE_LETTERS, Page};
use super::pass::Pass;
use super::positions::Positions;
use super::report::LeftOut;
use super::{DeadLetter, DeadLetters, Replay, ReplayReport, origin};
use crate::backend::Publisher;
use crate::error::Result;

/// A replay under way.
pub(super) struct Run {
    options: Replay,
    publisher: Arc<dyn Publisher>,
    letters: DeadLetters,
    positions: Positions,
    /// By partition.
    passes: Vec<Pass>,
    /// Partitions of which retention has removed letters before this run began.
    overtaken: Vec<u32>,
    /// The one that is being read.
    partition: u32,
    page: Page,
    /// Chosen so far, of what the limit counts.
    chosen: u64,
    /// Replayed, discarded or removed since the last commit.
    uncommitted: usize,
    /// Done, and left out of the record, by partition.
    unrecorded: BTreeMap<u32, u64>,
    next_at: Option<Instant>,
    report: ReplayReport,
}

impl Run {
    pub(super) async fn open(options: Replay, positions: Positions) -> Result<Self> {
        let backend = Arc::clone(&options.backend);
        let topic = &options.topology.dead_letter;
        let (mut passes, mut partitions) = (Vec::new(), VecDeque::new());
        let (mut report, mut overtaken) = (ReplayReport::default(), Vec::new());
        for (partition, mut range) in (0..).zip(ranges(&*backend, topic).await?) {
            let (mut pass, removed) = Pass::begin(positions.settled(partition), range);
            if removed > 0 {
                tracing::warn!(%topic, partition, removed, "dead letters were removed by retention before they were replayed");
                report.removed += removed;
                overtaken.push(partition);
            }
            if !options.again {
                report.replayed_before += pass.settled_before_in(range.start..range.end);
                pass.skip_to(pass.watermark());
                range.start = range.start.max(pass.watermark());
            }
            passes.push(pass);
            partitions.push_back((partition, range));
        }
        Ok(Self {
            letters: DeadLetters::open_at(&*backend, topic, partitions).await?,
            publisher: backend.publisher(),
            options,
            positions,
            passes,
            overtaken,
            partition: 0,
            page: Page::default(),
            chosen: 0,
            uncommitted: 0,
            unrecorded: BTreeMap::new(),
            next_at: None,
            report,
        })
    }

    pub(super) async fn finish(mut self) -> Result<ReplayReport> {
        let ended = self.read_to_the_end().await;
        let left = self.positions.leave().await;
        ended.and(left)?;
        self.report.unrecorded = self.unrecorded.into_values().sum();
        if self.report.unrecorded > 0 {
            tracing::warn!(topic = %self.options.topology.dead_letter, letters = self.report.unrecorded, "done, and not noted for want of room in the position record: another run repeats them");
        }
        Ok(self.report)
    }

    async fn read_to_the_end(&mut self) -> Result<()> {
        // What retention removed is told once: the position passes it.
        for partition in std::mem::take(&mut self.overtaken) {
            self.partition = partition;
            self.uncommitted = 1;
            self.commit().await?;
        }
        while let Some(found) = self.letters.next_found().await? {
            match found {
                Found::Partition(partition) => {
                    self.flush().await?;
                    self.commit().await?;
                    self.partition = partition;
                }
                Found::Record(offset, letter) => self.take(offset, letter.as_deref()).await?,
                Found::Removed(range) => {
                    self.flush().await?;
                    self.report.removed += self.pass().removed(range);
                    self.uncommitted += 1;
                }
            }
        }
        self.flush().await?;
        self.commit().await
    }

    fn pass(&mut self) -> &mut Pass {
        &mut self.passes[self.partition as usize]
    }

    async fn take(&mut self, offset: u64, letter: Option<&DeadLetter>) -> Result<()> {
        if !self.options.again && self.pass().was_settled(offset) {
            self.page.leave_out(offset);
        } else if let Err(reason) = self.choose(letter).await? {
            self.report.count(reason);
            self.page.leave_out(offset);
        } else if self.options.per_second.is_some() && !self.options.dry_run {
            self.pace().await;
            self.flush().await?;
        }
        if self.page.is_full() {
            self.flush().await?;
        }
        Ok(())
    }

    /// Puts it into the page, or says why not.
    async fn choose(
        &mut self,
        letter: Option<&DeadLetter>,
    ) -> Result<std::result::Result<(), LeftOut>> {
        let options = &self.options;
        let ours = |letter: &&DeadLetter| {
            let lineage = &letter.lineage;
            lineage.topic == options.topology.source
                && *lineage.group == *options.topology.group()
                && lineage.partition == letter.partition
        };
        let Some(letter) = letter.filter(ours) else {
            return Ok(Err(LeftOut::Foreign));
        };
        if !options.filter.takes(letter) {
            return Ok(Err(LeftOut::Filtered));
        }
        if options.limit.is_some_and(|limit| self.chosen >= limit) {
            return Ok(Err(LeftOut::BeyondLimit));
        }
        if options.discard {
            self.chosen += 1;
            self.page.discard(letter.offset);
            return Ok(Ok(()));
        }
        if letter.replays() >= options.max_replays && !options.to_origin {
            return Ok(Err(LeftOut::Exhausted));
        }
        let found;
        let message = if letter.by_reference {
            match origin::message_at(&*options.backend, letter).await? {
                Some(message) => {
                    found = message;
                    &found
                }
                None => return Ok(Err(LeftOut::Gone)),
            }
        } else {
            &letter.message
        };
        self.chosen += 1;
        self.page
            .add(letter, message, &options.topology, options.to_origin);
        Ok(Ok(()))
    }

    /// Publishes what is in hand, and commits when a page of it is through.
    async fn flush(&mut self) -> Result<()> {
        tokio::task::coop::consume_budget().await;
        if self.page.is_empty() {
            return Ok(());
        }
        let dry_run = self.options.dry_run;
        let outcomes = self.page.publish(&*self.publisher, dry_run).await;
        let mut failed = None;
        for (offset, became) in outcomes {
            let done = matches!(became, Became::Replayed | Became::Discarded);
            self.pass().pass(offset, done);
            match became {
                Became::Passed => {}
                Became::Replayed => {
                    self.report.replayed += 1;
                    self.uncommitted += 1;
                }
                Became::Discarded => {
                    self.report.discarded += 1;
                    self.uncommitted += 1;
                }
                Became::TooLarge => self.report.count(LeftOut::TooLarge),
                Became::Failed(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            self.commit().await?;
            return Err(error);
        }
        if self.uncommitted >= self.commit_after() {
            self.commit().await?;
        }
        Ok(())
    }

    /// What a crash between publishing and committing repeats: a page; when it is paced, what goes in a second.
    fn commit_after(&self) -> usize {
        let per_second = self.options.per_second;
        per_second.map_or(1, |many| (many as usize).min(PAGE_LETTERS))
    }

    /// Stores what is settled of the partition, if that has changed.
    async fn commit(&mut self) -> Result<()> {
        if std::mem::take(&mut self.uncommitted) > 0 {
            let settled = self.pass().map();
            let unrecorded = self.positions.store(self.partition, settled).await?;
            self.unrecorded.insert(self.partition, unrecorded);
        }
        Ok(())
    }

    async fn pace(&mut self) {
        let Some(per_second) = self.options.per_second else {
            return;
        };
        if let Some(at) = self.next_at {
            tokio::time::sleep_until(at).await;
        }
        self.next_at = Some(Instant::now() + Duration::from_secs(1) / per_second);
    }
}
