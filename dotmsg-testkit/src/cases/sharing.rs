//! Sharing inside a group, on the level of the contract: balanced, nobody owns what another one owns, nothing is read twice in
//! steady state, and a hand-over waits for the release.
//!
//! A backend's session timeout has to be well below the deadline of the suite (a few seconds), or these cases take it for one
//! that never comes.

use std::collections::BTreeSet;
use std::sync::Arc;

use dotmsg_core::backend::{Backend, Subscription};
use dotmsg_core::error::{ErrorKind, Result};
use dotmsg_core::message::Message;

use crate::feed::{by_key, numbered, publish_all};
use crate::fixture::Stays;
use crate::group::{Log, Worker, watermark};
use crate::member::{Member, fenced, record_of, stored};
use crate::topic::ALL;
use crate::trial::{Trial, to};
use crate::wait::{until, within};

/// Members that come and go share the partitions evenly, and no partition has two owners at any time.
pub(crate) async fn is_balanced(trial: Trial) {
    let backends = [
        trial.connect().await,
        trial.connect().await,
        trial.connect().await,
    ];
    let topic = trial.topic(&*backends[0], 9).await;
    let (group, log) = (trial.name(), Log::default());
    let mut workers = Vec::new();
    for (number, backend) in backends.iter().enumerate() {
        workers.push(Worker::start(backend, &topic, &group, number, &log).await);
        let members: Vec<usize> = (0..=number).collect();
        log.balanced(&members, 9).await;
    }
    workers.remove(1).leave().await;
    log.balanced(&[0, 2], 9).await;
    workers.remove(0).leave().await;
    log.balanced(&[2], 9).await;
    workers.remove(0).leave().await;
}

const MEMBERS: usize = 8;

/// In steady state every message goes to exactly one member, and every member gets some.
pub(crate) async fn gives_each_message_to_one(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 24).await;
    let (group, log) = (trial.name(), Log::default());
    let mut workers = Vec::new();
    for number in 0..MEMBERS {
        let connection = trial.connect().await;
        workers.push(Worker::start(&connection, &topic, &group, number, &log).await);
    }
    let members: Vec<usize> = (0..MEMBERS).collect();
    log.balanced(&members, 24).await;
    let records = (0..5_000).map(|n| by_key(&topic, numbered(&format!("k{n}"), n)));
    let published = publish_all(&*backend, records.collect()).await;
    until("all are read", || async {
        (log.read().len() >= 5_000).then_some(())
    })
    .await;
    for worker in workers {
        worker.leave().await;
    }
    let read = log.read();
    let once: BTreeSet<(u32, u64)> = read.iter().map(|(_, p, offset)| (*p, *offset)).collect();
    let all = published.iter().map(|at| (at.partition, at.offset));
    assert_eq!(once, all.collect());
    assert_eq!(read.len(), 5_000, "some were read twice");
    let readers: BTreeSet<usize> = read.iter().map(|(number, _, _)| *number).collect();
    assert_eq!(readers.len(), MEMBERS);
}

/// While members come and go, what is read is read in order and without a gap: each owner goes on where the last one committed.
pub(crate) async fn goes_on_where_the_last_owner_was(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 4).await;
    let (group, log) = (trial.name(), Log::default());
    let mut workers = vec![Worker::start(&backend, &topic, &group, 0, &log).await];
    let mut published = Vec::new();
    for round in 1..=6 {
        let records = (0..40).map(|n| to(&topic, n % 4, Message::new(round.to_string())));
        published.append(&mut publish_all(&*backend, records.collect()).await);
        match round % 2 {
            0 => workers.remove(0).leave().await,
            _ => {
                let connection = trial.connect().await;
                let worker = Worker::start(&connection, &topic, &group, round, &log).await;
                workers.push(worker);
            }
        }
    }
    until("all are read", || async {
        let read: BTreeSet<(u32, u64)> = log
            .read()
            .into_iter()
            .map(|(_, p, offset)| (p, offset))
            .collect();
        (read.len() == published.len()).then_some(())
    })
    .await;
    for worker in workers {
        worker.leave().await;
    }
    for partition in 0..4 {
        let of_partition = |at: &&(usize, u32, u64)| at.1 == partition;
        let read = log.read();
        let offsets: Vec<u64> = read.iter().filter(of_partition).map(|at| at.2).collect();
        assert!(offsets.is_sorted(), "partition {partition}: {offsets:?}");
        let once: BTreeSet<u64> = offsets.iter().copied().collect();
        assert_eq!(
            once.len(),
            offsets.len(),
            "read twice after a clean hand-over"
        );
    }
}

/// Two members, of which the second has joined and the first was asked for something.
struct Asked {
    first: Member,
    second: Member,
    topic: Arc<str>,
    backend: Arc<dyn Backend>,
}

impl Asked {
    async fn of(trial: &Trial) -> Self {
        let backend = trial.connect().await;
        let topic = trial.topic(&*backend, 2).await;
        let group = trial.name();
        let mut first = Member::owner(&*backend, &topic, &group, 2).await;
        let mut second = Member::join(&*trial.connect().await, &topic, &group).await;
        // Both poll, as members do; the first one hears that it is to give something up.
        let waiting = async {
            while first.revoking.is_empty() {
                first.event().await;
            }
        };
        tokio::select! {
            () = waiting => {}
            () = second.keep_polling() => {}
        }
        Self {
            first,
            second,
            topic,
            backend,
        }
    }
}

/// A member that is asked for a partition still commits for it, and nobody else gets it before it is released; then the next
/// owner finds the last commit, and the former one has no further effect.
pub(crate) async fn a_revocation_waits_for_the_release(trial: Trial) {
    let mut asked = Asked::of(&trial).await;
    let (first, second) = (&mut asked.first, &mut asked.second);
    let given_up = first.revoking.clone();
    let records = given_up
        .iter()
        .map(|it| to(&asked.topic, *it, Message::new("x")));
    publish_all(&*asked.backend, records.collect()).await;
    // In the drain: what is in hand is committed before it is given up. The other one polls meanwhile, and first: one that does
    // not poll never hears that it owns something.
    for step in 1..=3 {
        for partition in &given_up {
            let committed = tokio::select! {
                biased;
                () = second.keep_polling() => panic!("it polls for ever"),
                committed = first.commit(*partition, step) => committed,
            };
            stored(&committed);
            assert!(!second.owned.contains_key(partition), "it has two owners");
        }
    }
    let grants = first.owned.clone();
    first.release().await;
    for partition in &given_up {
        let late = first.commit_as(*partition, grants[partition], 9, record_of(9));
        fenced(&late.await);
    }
    // Under an eager assignor the first one gives up all that it has, and gets some of it back.
    let taken = async {
        loop {
            let taken = given_up.iter().find(|it| second.owned.contains_key(it));
            match taken {
                Some(taken) => return *taken,
                None => second.event().await,
            }
        }
    };
    // It has to join the next round too, for which it polls.
    let taken = tokio::select! {
        taken = taken => taken,
        () = first.keep_polling() => panic!("it polls for ever"),
    };
    assert_eq!(watermark(second.position(taken).await), Some(3));
    fenced(
        &first
            .commit_as(taken, grants[&taken], 9, record_of(9))
            .await,
    );
    assert_eq!(watermark(second.position(taken).await), Some(3));
    stored(&second.commit(taken, 4).await);
}

/// A member that falls silent loses its partitions to the others after its session; when it wakes up, its commits are refused
/// and it hears that they are gone.
pub(crate) async fn a_silent_member_loses_its_partitions(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 4).await;
    let group = trial.name();
    let mut silent = Member::owner(&*backend, &topic, &group, 4).await;
    stored(&silent.commit(0, 1).await);
    let before = silent.owned.clone();
    // It never polls again, from here on.
    let other = trial.connect().await;
    let mut next = Member::join(&*other, &topic, &group).await;
    next.owns(4).await;
    assert_eq!(watermark(next.position(0).await), Some(1));
    for (partition, grant) in &before {
        fenced(&silent.commit_as(*partition, *grant, 9, record_of(9)).await);
    }
    let wakes = async {
        while !before
            .keys()
            .all(|partition| silent.lost.contains(partition))
        {
            silent.event().await;
        }
    };
    let awake = async {
        tokio::select! {
            () = wakes => {}
            () = next.keep_polling() => {}
        }
    };
    within("the silent member hears what it lost", awake).await;
}

/// Whoever is to be alone in a group is refused while somebody is in it, and nobody shares with it.
pub(crate) async fn to_be_alone_is_kept(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    let group = trial.name();
    let alone = || Subscription::new(&*topic, &*group).exclusive();
    let member = Member::owner(&*backend, &topic, &group, 2).await;
    let refused = Member::try_join_as(&*backend, alone()).await.err();
    assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Fenced));
    stored(&member.commit(0, 1).await);
    member.leave().await;
    let joined = Member::try_join_as(&*backend, alone()).await;
    let mut alone = joined.unwrap_or_else(|error| panic!("nobody is there: {error}"));
    alone.owns(2).await;
    match Member::try_join(&*backend, &topic, &group).await {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Fenced),
        // A backend that cannot refuse tells the one that was alone.
        Ok(mut other) => {
            let told = async {
                while alone.revoking.is_empty() && alone.lost.is_empty() {
                    alone.event().await;
                }
            };
            tokio::select! {
                () = told => {}
                () = other.keep_polling() => {}
            }
        }
    }
}

/// A static member that comes back within its session gets its partitions back, and nobody else is disturbed.
pub(crate) async fn a_static_member_comes_back(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 4).await;
    let group = trial.name();
    let join = async |name| named(&*backend, &topic, &group, name).await;
    let (mut first, mut second) = (join("one").await, join("two").await);
    settle(&mut first, &mut second).await;
    let (had, others) = (first.partitions(), second.owned.clone());
    stored(&first.commit(*had.first().unwrap_or(&0), 1).await);
    drop(first);
    let again = async {
        loop {
            let mut back = join("one").await;
            match is_back(&mut back, &had).await {
                Ok(()) => return back,
                // Until its former self is taken for gone: whoever started it starts it again.
                Err(error) if trial.stays() == Stays::Earlier => {
                    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
                }
                Err(error) => panic!("it does not come back: {error}"),
            }
        }
    };
    let back = tokio::select! {
        back = within("it comes back", again) => back,
        () = second.keep_polling() => panic!("it polls for ever"),
    };
    assert_eq!(back.partitions(), had);
    assert_eq!(second.owned, others, "under the grants from before");
    assert!(second.revoking.is_empty() && second.lost.is_empty());
}

/// Waits until a member has these partitions.
async fn is_back(member: &mut Member, had: &[u32]) -> Result<()> {
    while member.partitions() != had {
        member.next(ALL).await?;
    }
    Ok(())
}

/// A static member.
async fn named(backend: &dyn Backend, topic: &str, group: &str, name: &str) -> Member {
    let subscription = Subscription::new(topic, group).instance(name.to_owned());
    let joined = Member::try_join_as(backend, subscription).await;
    joined.unwrap_or_else(|error| panic!("{error}"))
}

/// Of two members with one instance id the later takes the earlier one's place, which ends and says so.
pub(crate) async fn of_one_instance_the_later_stays(trial: Trial) {
    let (backend, other) = (trial.connect().await, trial.connect().await);
    let (topic, group) = (trial.topic(&*backend, 2).await, trial.name());
    let mut earlier = named(&*backend, &topic, &group, "one").await;
    earlier.owns(2).await;
    let mut later = named(&*other, &topic, &group, "one").await;
    let kind = tokio::select! {
        error = earlier.failure() => error.kind(),
        () = later.keep_polling() => ErrorKind::Unexpected,
    };
    assert_eq!(kind, ErrorKind::Fenced);
    later.owns(2).await;
    stored(&later.commit(0, 1).await);
}

/// Of two members with one instance id the later ends and says so; the earlier keeps its partitions and still commits.
pub(crate) async fn of_one_instance_the_earlier_stays(trial: Trial) {
    let (backend, other) = (trial.connect().await, trial.connect().await);
    let (topic, group) = (trial.topic(&*backend, 2).await, trial.name());
    let mut earlier = named(&*backend, &topic, &group, "one").await;
    earlier.owns(2).await;
    let had = earlier.owned.clone();
    let mut later = named(&*other, &topic, &group, "one").await;
    let kind = tokio::select! {
        error = later.failure() => error.kind(),
        () = earlier.keep_polling() => ErrorKind::Unexpected,
    };
    assert_eq!(kind, ErrorKind::Fenced);
    assert_eq!(earlier.owned, had, "under the grants from before");
    assert!(earlier.revoking.is_empty() && earlier.lost.is_empty());
    stored(&earlier.commit(0, 1).await);
}

/// Both poll, and give up what they are asked for, until each owns two of four partitions.
async fn settle(first: &mut Member, second: &mut Member) {
    within("two members share four partitions", async {
        while first.owned.len() != 2 || second.owned.len() != 2 {
            let (one, other) = (&mut *first, &mut *second);
            tokio::select! {
                heard = one.wait_next(ALL) => drop(heard),
                heard = other.wait_next(ALL) => drop(heard),
            }
            for member in [&mut *first, &mut *second] {
                if !member.revoking.is_empty() {
                    member.release().await;
                }
            }
        }
    })
    .await;
}
