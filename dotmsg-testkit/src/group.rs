//! Members that work: each in a task of its own, reading from the committed positions, committing what it read, giving up what it
//! is asked for. The smallest consumer that keeps the contract, for cases about how a group shares its partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dotmsg_core::backend::{Backend, CommitOutcome};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::member::{Member, Next};
use crate::positions::decoded;
use crate::topic::ALL;
use crate::wait::{until, within};

/// What members of a group did, together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What each member owns now, by the number of the member.
    owned: BTreeMap<usize, BTreeSet<u32>>,
    /// Who read what, in order: member, partition, offset.
    read: Vec<(usize, u32, u64)>,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each member owns now.
    pub(crate) fn owned(&self) -> BTreeMap<usize, BTreeSet<u32>> {
        self.lock().owned.clone()
    }

    /// Who read what: member, partition, offset.
    pub(crate) fn read(&self) -> Vec<(usize, u32, u64)> {
        self.lock().read.clone()
    }

    /// Waits until these members, and nobody else, share all partitions, in shares that differ by one at most.
    ///
    /// # Panics
    /// When two own one partition, at any time.
    pub(crate) async fn balanced(&self, members: &[usize], partitions: u32) {
        let what = format!("members {members:?} share {partitions} partitions evenly");
        until(&what, || async {
            let owned = self.owned();
            let mut all = BTreeSet::new();
            for partition in owned.values().flatten() {
                assert!(all.insert(*partition), "two own {partition}: {owned:?}");
            }
            let sizes = members
                .iter()
                .map(|member| owned.get(member).map_or(0, BTreeSet::len));
            let (least, most) = (sizes.clone().min(), sizes.clone().max());
            let even = most.unwrap_or(0) <= least.unwrap_or(0) + 1;
            let whole = sizes.sum::<usize>() == partitions as usize;
            (even && whole).then_some(())
        })
        .await;
    }
}

/// A member at work.
pub(crate) struct Worker {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Worker {
    /// Joins and works as member `number`.
    pub(crate) async fn start(
        backend: &Arc<dyn Backend>,
        topic: &str,
        group: &str,
        number: usize,
        log: &Log,
    ) -> Self {
        let member = Member::join(&**backend, topic, group).await;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(work(member, number, log.clone(), stopped));
        Self { stop, task }
    }

    /// Leaves the group after its last commit.
    pub(crate) async fn leave(self) {
        self.stop.send_replace(true);
        let ended = within("the member leaves", self.task).await;
        ended.unwrap_or_else(|error| panic!("a member failed: {error}"));
    }
}

async fn work(mut member: Member, number: usize, log: Log, mut stop: watch::Receiver<bool>) {
    let mut reading = BTreeMap::new();
    loop {
        let next = tokio::select! {
            biased;
            told = stop.wait_for(|stop| *stop) => {
                drop(told);
                break;
            }
            next = member.wait_next(ALL) => next,
        };
        match next {
            Err(error) => panic!("member {number} failed: {error}"),
            Ok(Next::Batch(batch)) => {
                let mut watermark = 0;
                {
                    let mut state = log.lock();
                    for record in batch.records {
                        state.read.push((number, batch.partition, record.offset));
                        watermark = record.offset + 1;
                    }
                }
                let outcome = member.commit(batch.partition, watermark).await;
                let known = matches!(outcome, CommitOutcome::Committed | CommitOutcome::Fenced);
                assert!(known, "member {number} cannot commit: {outcome:?}");
            }
            Ok(Next::Event) => {
                if !member.revoking.is_empty() {
                    for partition in &member.revoking {
                        log.lock()
                            .owned
                            .entry(number)
                            .or_default()
                            .remove(partition);
                        reading.remove(partition);
                    }
                    member.release().await;
                }
                follow(&member, number, &log, &mut reading).await;
            }
        }
    }
    log.lock().owned.remove(&number);
    member.leave().await;
}

/// Reads what is owned and not read yet, from the committed position; forgets what was lost.
async fn follow(member: &Member, number: usize, log: &Log, reading: &mut BTreeMap<u32, u64>) {
    for (partition, grant) in &member.owned {
        if reading.get(partition) == Some(grant) {
            continue;
        }
        let position = member.position(*partition).await;
        let from = position.map_or(0, |bytes| decoded(&bytes).watermark());
        reading.insert(*partition, *grant);
        member.control.resume(*partition, Some(from));
    }
    reading.retain(|partition, _| member.owned.contains_key(partition));
    let owned = reading.keys().copied().collect();
    log.lock().owned.insert(number, owned);
}

/// A record that says nothing but where it is, for cases that hold a member still.
pub(crate) fn watermark(record: Option<bytes::Bytes>) -> Option<u64> {
    record.map(|bytes| decoded(&bytes).watermark())
}
