//! What an operator does in the middle of a run: replaying dead letters; and, with all members stopped, moving a position or
//! making the topic anew.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::history::What;
use super::run::{LOOK_EVERY, Run, STOPPED_WITHIN};
use crate::backend::Backend;
use crate::replay::Replay;
use crate::reset::Reset;
use crate::router::Topology;

/// What is done with all members stopped.
#[derive(Clone, Copy)]
pub(super) enum Operation {
    Reset(u32, u64),
    Recreate,
}

impl Run {
    /// As an operator does, while the members run.
    pub(super) async fn replay(&self) {
        for topology in self.world.topologies() {
            let replay = Replay::new(Arc::new(self.world.broker.clone()), topology);
            // There may be no dead letters yet.
            if let Ok(report) = replay.run().await {
                self.world.nobody(What::Replayed(report.replayed));
            }
        }
    }

    /// As an operator does, with all members stopped.
    pub(super) async fn operate(&self, operation: Operation) {
        for member in &self.members {
            member.hold();
        }
        // One that never stops breaks a promise; that is for the check to say, which needs the run to go on.
        let give_up = Instant::now() + STOPPED_WITHIN;
        while self.members.iter().any(|member| member.life().is_some()) {
            if Instant::now() > give_up {
                return self.release_members();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.world.forget_buried();
        for topology in self.world.topologies() {
            match operation {
                Operation::Reset(partition, to) => self.reset(topology, partition, to).await,
                Operation::Recreate => {
                    // Known to exist: members have subscribed to it.
                    let _ = self.world.broker.delete_topic(&topology.source).await;
                    self.topic(&topology.source).await;
                    self.world.nobody(What::Recreated);
                }
            }
        }
        self.release_members();
    }

    fn release_members(&self) {
        for member in &self.members {
            member.release();
        }
    }

    async fn reset(&self, topology: Arc<Topology>, partition: u32, to: u64) {
        let admin = self.world.broker.admin();
        let Ok(range) = admin.offsets(&topology.source, partition).await else {
            return;
        };
        let to = to.min(range.end);
        let reset =
            Reset::new(Arc::new(self.world.broker.clone()), topology).to_offset(partition, to);
        // Static members keep their place for a session after they have stopped; an operator tries again.
        let give_up = Instant::now() + 2 * Duration::from_millis(self.world.setting.session_ms);
        let mut done = reset.clone().run().await;
        while done.is_err() && Instant::now() < give_up {
            tokio::time::sleep(LOOK_EVERY).await;
            done = reset.clone().run().await;
        }
        match done {
            Ok(_) => self.world.nobody(What::Reset(partition, to)),
            Err(error) => {
                let failed = What::Failed(error.kind(), error.to_string().into());
                self.world.nobody(failed);
            }
        }
    }
}
