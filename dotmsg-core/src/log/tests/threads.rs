//! Members of a group on several threads: whoever is awaited is woken, and no partition has two owners.
//!
//! The members do as they are told, at once or a moment later, on a runtime with threads of its own; others come and go
//! meanwhile. A wake-up that is lost shows as partitions that nobody gets before the deadline, which is below the session
//! timeout: nothing but a wake-up can help.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Mutex;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::backend::Control;

const PARTITIONS: u32 = 7;
const ROUNDS: u64 = 30;

/// Who owns what, as the members say.
#[derive(Debug, Default)]
struct Owners(Mutex<BTreeMap<u32, u64>>);

impl Owners {
    fn take(&self, granted: &[Granted], member: u64) {
        for one in granted {
            let before = self.0.lock().unwrap().insert(one.partition, member);
            assert_eq!(before, None, "partition {} has two owners", one.partition);
        }
    }

    fn give_up(&self, partitions: &[u32]) {
        let mut owners = self.0.lock().unwrap();
        owners.retain(|partition, _| !partitions.contains(partition));
    }

    fn leave(&self, member: u64) {
        self.0.lock().unwrap().retain(|_, owner| *owner != member);
    }

    /// Whether these members have all partitions, in shares that differ by at most one.
    fn are(&self, members: &[u64]) -> bool {
        let owners = self.0.lock().unwrap();
        let share = |member: &u64| owners.values().filter(|owner| *owner == member).count();
        let shares: Vec<usize> = members.iter().map(share).collect();
        let even = shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1;
        even && shares.iter().sum::<usize>() == PARTITIONS as usize
    }
}

/// A member that does as it is told until it is stopped.
async fn live(
    (mut source, control): Membership,
    member: u64,
    owners: Arc<Owners>,
    mut stop: watch::Receiver<bool>,
) {
    let mut rng = fastrand::Rng::with_seed(member);
    let mut owned: BTreeMap<u32, Granted> = BTreeMap::new();
    loop {
        let event = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            event = poll_fn(|cx| source.poll_event(cx)) => event.unwrap(),
        };
        match event {
            AssignmentEvent::Assigned(granted) => {
                owners.take(&granted, member);
                owned.extend(granted.iter().map(|one| (one.partition, *one)));
            }
            AssignmentEvent::Revoking { partitions, .. } => {
                if rng.bool() {
                    tokio::time::sleep(Duration::from_micros(rng.u64(0..2_000))).await;
                }
                owners.give_up(&partitions);
                let given_up = partitions.iter().filter_map(|one| owned.remove(one));
                control.release(given_up.collect()).await.unwrap();
            }
            other => panic!("member {member}: {other:?}"),
        }
    }
    owners.leave(member);
    end(source, control, rng.bool()).await;
}

/// Leaves the group, by closing it or by dropping both halves at the same time.
async fn end(source: Box<dyn Source>, control: Arc<dyn Control>, closes: bool) {
    if closes {
        control.close(Duration::ZERO).await.unwrap();
    } else {
        let other = std::thread::spawn(move || drop(control));
        drop(source);
        other.join().unwrap();
    }
}

/// The members of one round: number, how it is stopped, its task.
type Members = Vec<(u64, watch::Sender<bool>, JoinHandle<()>)>;

async fn come_and_go(log: &LogBroker, owners: &Arc<Owners>, seed: u64) -> Members {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut members: Members = Vec::new();
    for number in 0..rng.u64(5..40) {
        if members.is_empty() || (rng.u32(0..5) < 3 && members.len() < 6) {
            let member = seed * 100 + number;
            let joined = log.subscribe(Subscription::new("t", "g")).await.unwrap();
            let (sender, stop) = watch::channel(false);
            let task = tokio::spawn(live(joined, member, Arc::clone(owners), stop));
            members.push((member, sender, task));
        } else if members.len() > 1 {
            let (_, stop, task) = members.swap_remove(rng.usize(0..members.len()));
            stop.send_replace(true);
            if rng.bool() {
                task.await.unwrap();
            }
        }
        if rng.bool() {
            tokio::time::sleep(Duration::from_micros(rng.u64(0..1_500))).await;
        }
    }
    members
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_on_several_threads_are_woken_and_share_in_the_end() {
    let assignors = [
        Assignor::Range,
        Assignor::Sticky,
        Assignor::CooperativeSticky,
    ];
    for (seed, assignor) in (0..ROUNDS).zip(assignors.into_iter().cycle()) {
        let mut options = options();
        options.assignor = assignor;
        let log = LogBroker::memory(options);
        topic(&log, "t", PARTITIONS);
        let owners = Arc::default();
        let members = come_and_go(&log, &owners, seed).await;
        let numbers: Vec<u64> = members.iter().map(|(number, ..)| *number).collect();
        let shared = async {
            while !owners.are(&numbers) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(10), shared).await;
        assert!(in_time.is_ok(), "round {seed}: {owners:?} of {numbers:?}");
        for (_, stop, task) in members {
            stop.send_replace(true);
            task.await.unwrap();
        }
    }
}
