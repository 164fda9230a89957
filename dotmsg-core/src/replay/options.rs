//! What a replay is told: which dead letters, how many, where to, how fast.

use std::sync::Arc;

use bytes::Bytes;

use super::filter::Filter;
use super::positions::{Access, Positions};
use super::run::Run;
use super::{DeadLetter, ReplayReport};
use crate::backend::Backend;
use crate::error::Result;
use crate::router::Topology;

/// How often a message is replayed before the loop guard leaves it out, unless the options say otherwise: a person has
/// looked at it three times by then.
const DEFAULT_MAX_REPLAYS: u32 = 3;

/// A replay of a group's dead letters: each once, however often it is run. See the [module](super).
///
/// What it leaves out (by a condition, by the loop guard, because it is too large) stays for a later run.
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
    pub(super) backend: Arc<dyn Backend>,
    pub(super) topology: Arc<Topology>,
    pub(super) filter: Filter,
    pub(super) per_second: Option<u32>,
    pub(super) max_replays: u32,
    pub(super) dry_run: bool,
    pub(super) limit: Option<u64>,
    pub(super) to_origin: bool,
    pub(super) discard: bool,
    pub(super) again: bool,
}

impl Replay {
    /// Every dead letter of a route's topology on its backend that was not replayed before, as fast as it goes.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, topology: Arc<Topology>) -> Self {
        Self {
            backend,
            topology,
            filter: Filter::default(),
            per_second: None,
            max_replays: DEFAULT_MAX_REPLAYS,
            dry_run: false,
            limit: None,
            to_origin: false,
            discard: false,
            again: false,
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
        self.per_second = Some(messages.max(1));
        self
    }

    /// At most this many, the first of those that the conditions choose; the others stay for a later run. Default: no limit.
    #[must_use]
    pub fn limit(mut self, letters: u64) -> Self {
        self.limit = Some(letters);
        self
    }

    /// Leaves out what was replayed this often already. Default 3.
    #[must_use]
    pub fn max_replays(mut self, max: u32) -> Self {
        self.max_replays = max;
        self
    }

    /// Publishes nothing, notes nothing and tells what it would do. It may run beside a replay.
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

    /// Publishes nothing: what the conditions choose is given up, and counts as done like what was replayed. The letters stay in
    /// their topic, where [`Replay::again`] finds them. The loop guard leaves none of them out.
    #[must_use]
    pub fn discard(mut self) -> Self {
        self.discard = true;
        self
    }

    /// Replays also what was replayed before: for letters whose replay came to nothing, say because the handler was wrong in
    /// another way and discarded them. Choose them by a condition, or all are handled twice.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Runs to the end that the topic has now. It may be dropped: at most what was published since its last commit, one page
    /// of 256 dead letters, is then replayed again by the next run.
    ///
    /// # Errors
    /// The dead-letter topic does not exist; another replay of it runs ([`ErrorKind::Fenced`](crate::error::ErrorKind)); the
    /// backend's own. A publish that failed or was not answered ends the run with its error, after what was confirmed is
    /// noted: run it again, and it goes on there. What was not answered is published again then, under the same identity:
    /// if it was appended after all, the handler gets it twice.
    pub async fn run(self) -> Result<ReplayReport> {
        let access = Access {
            again: self.again,
            look: self.dry_run,
        };
        let positions = Positions::open(&*self.backend, &self.topology, access).await?;
        Run::open(self, positions).await?.finish().await
    }
}
