//! What is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ResetReport, run};
use crate::backend::Backend;
use crate::error::Result;
use crate::router::Topology;

/// Where the positions go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Nowhere.
    Stay,
    Earliest,
    Latest,
    /// These partitions to these offsets; the others are not looked at.
    Offsets(BTreeMap<u32, u64>),
}

/// A reset of a group's position in a topic. See the [module](super).
///
/// ```no_run
/// # use std::sync::Arc;
/// # use dotmsg_core::{backend::Backend, error::Result, reset::Reset, router::Topology};
/// # async fn example(backend: Arc<dyn Backend>, topology: Arc<Topology>) -> Result<()> {
/// let reset = Reset::new(backend, topology).to_earliest();
/// println!("{}", reset.clone().dry_run(true).run().await?);
/// println!("{}", reset.run().await?);
/// # Ok(())
/// # }
/// ```
///
/// Without a target the positions stay where they are: then only heads that their tiers have lost are taken up again.
#[derive(Clone, Debug)]
pub struct Reset {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) topology: Arc<Topology>,
    pub(super) target: Target,
    pub(super) drop_lost_heads: bool,
    pub(super) dry_run: bool,
}

impl Reset {
    /// For the group and the source topic of a route's topology.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, topology: Arc<Topology>) -> Self {
        Self {
            backend,
            topology,
            target: Target::Stay,
            drop_lost_heads: false,
            dry_run: false,
        }
    }

    /// To the first record that each partition holds: everything that the log still has is handled again.
    #[must_use]
    pub fn to_earliest(mut self) -> Self {
        self.target = Target::Earliest;
        self
    }

    /// To the end of each partition: everything up to now is passed over, but for heads that wait for their retry.
    #[must_use]
    pub fn to_latest(mut self) -> Self {
        self.target = Target::Latest;
        self
    }

    /// One partition to an offset, which is then the first to be handled. Called again, another one too; partitions that are
    /// not named stay untouched.
    #[must_use]
    pub fn to_offset(mut self, partition: u32, offset: u64) -> Self {
        let mut offsets = match self.target {
            Target::Offsets(offsets) => offsets,
            Target::Stay | Target::Earliest | Target::Latest => BTreeMap::new(),
        };
        offsets.insert(partition, offset);
        self.target = Target::Offsets(offsets);
        self
    }

    /// Accepts the loss of heads of which neither the retry topic nor the topic they came from holds the message any more.
    /// Without it such a reset is refused. Each of them is in the report.
    #[must_use]
    pub fn drop_lost_heads(mut self) -> Self {
        self.drop_lost_heads = true;
        self
    }

    /// Writes nothing and tells what it would do. It may run beside the route.
    #[must_use]
    pub fn dry_run(mut self, dry: bool) -> Self {
        self.dry_run = dry;
        self
    }

    /// Does it, confirmed. The route may be started afterwards; take `on_log_mismatch` and `on_missing_position` out of its
    /// configuration if they were set for this.
    ///
    /// A record that cannot be read is overwritten, if there is a target; heads that it named are forgotten then, which the
    /// report says.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`](crate::error::ErrorKind): a member of the group runs.
    /// [`ErrorKind::PositionLost`](crate::error::ErrorKind): heads would be lost; or, without a target, a position does not
    /// fit the log. [`ErrorKind::Invalid`](crate::error::ErrorKind): an offset that the log does not hold. The backend's own:
    /// some partitions may be reset then, and it may be run again.
    pub async fn run(self) -> Result<ResetReport> {
        run::run(&self).await
    }
}
