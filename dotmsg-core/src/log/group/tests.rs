//! The coordinator against a naive model of its members, which do as they are told, late, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::super::assignor::Assignor;
use super::coordinator::{Coordinator, Joining, Refused};
use super::step::{Rules, Step, Told};
use crate::backend::{AssignmentEvent, Granted};

const SESSION: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_secs(60);

/// A member as it would be: what it was told.
#[derive(Debug, Default)]
struct Member {
    instance: Option<Arc<str>>,
    owns: BTreeMap<u32, u64>,
    asked: BTreeSet<u32>,
    /// The group waits for it.
    awaited: bool,
    replaced: bool,
    events: Vec<AssignmentEvent>,
}

struct World {
    coordinator: Coordinator,
    now: Instant,
    numbers: u64,
    /// Grants that were ever given.
    given: BTreeSet<u64>,
    members: BTreeMap<u64, Member>,
    partitions: u32,
}

impl World {
    fn new(assignor: Assignor, partitions: u32) -> Self {
        let rules = Rules {
            assignor,
            session_timeout: SESSION,
            poll_timeout: POLL,
        };
        Self {
            coordinator: Coordinator::new(rules, partitions),
            now: Instant::now(),
            numbers: 100,
            given: BTreeSet::new(),
            members: BTreeMap::new(),
            partitions,
        }
    }

    fn step<T>(&mut self, work: impl FnOnce(&mut Coordinator, &mut Step<'_>) -> T) -> T {
        let mut step = Step::new(self.now, &mut self.numbers);
        let generation = self.coordinator.generation();
        let result = work(&mut self.coordinator, &mut step);
        assert!(self.coordinator.generation() >= generation);
        for (id, told) in step.told {
            self.hear(id, told);
        }
        self.check();
        result
    }

    fn hear(&mut self, id: u64, told: Told) {
        let owned_elsewhere: Vec<u32> = self
            .members
            .iter()
            .filter(|(other, _)| **other != id)
            .flat_map(|(_, member)| member.owns.keys().copied())
            .collect();
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        match told {
            Told::Own(granted) => {
                assert!(self.given.insert(granted.grant), "a grant is given twice");
                assert!(
                    !owned_elsewhere.contains(&granted.partition),
                    "two owners of partition {}",
                    granted.partition
                );
                let before = member.owns.insert(granted.partition, granted.grant);
                assert_eq!(before, None, "given to one who has it");
            }
            Told::Disown(partition) => {
                assert!(member.owns.remove(&partition).is_some(), "had it not");
                member.asked.remove(&partition);
            }
            Told::Event(event) => {
                if let AssignmentEvent::Revoking { partitions, .. } = &event {
                    for partition in partitions {
                        assert!(
                            member.owns.contains_key(partition),
                            "asked for what it has not"
                        );
                        assert!(member.asked.insert(*partition), "asked twice");
                    }
                }
                if let AssignmentEvent::Assigned(granted) = &event {
                    for granted in granted {
                        assert_eq!(member.owns.get(&granted.partition), Some(&granted.grant));
                    }
                }
                member.events.push(event);
            }
            Told::Join => member.awaited = true,
            Told::Replaced => member.replaced = true,
        }
    }

    /// The coordinator accepts commits of exactly what its members were given and have not had taken away.
    fn check(&self) {
        for (id, member) in &self.members {
            for partition in 0..self.partitions {
                let grant = self.coordinator.grant(*id, partition);
                assert_eq!(grant, member.owns.get(&partition).copied());
            }
        }
    }

    fn join(&mut self, id: u64, instance: Option<&str>) -> Result<(), Refused> {
        let instance: Option<Arc<str>> = instance.map(Into::into);
        let member = Member {
            instance: instance.clone(),
            ..Member::default()
        };
        self.members.insert(id, member);
        self.step(|coordinator, step| {
            let joining = Joining {
                member: id,
                instance,
                exclusive: false,
                again: false,
            };
            coordinator.join(step, joining)
        })
    }

    /// The member polls: it joins when it is awaited, and shows that it lives.
    fn poll(&mut self, id: u64) {
        let Some(member) = self.members.get_mut(&id).filter(|member| !member.replaced) else {
            return;
        };
        let instance = member.instance.clone();
        if std::mem::take(&mut member.awaited) {
            let joined = self.step(|coordinator, step| {
                if coordinator.rejoin(step, id) {
                    return Ok(());
                }
                let joining = Joining {
                    member: id,
                    instance,
                    exclusive: false,
                    again: true,
                };
                coordinator.join(step, joining)
            });
            if joined == Err(Refused::Replaced) {
                self.members.remove(&id);
                return;
            }
        }
        self.step(|coordinator, step| coordinator.beat(step, id));
        if self.members[&id].awaited {
            // A round that the beat began wakes the poll that is just going on.
            self.poll(id);
        }
    }

    /// The member gives up what it was asked for.
    fn give_up(&mut self, id: u64) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let asked = std::mem::take(&mut member.asked);
        let grant = |partition| Granted {
            partition,
            grant: member.owns[&partition],
        };
        let asked: Vec<Granted> = asked.into_iter().map(grant).collect();
        if !asked.is_empty() {
            self.step(|coordinator, step| coordinator.release(step, id, &asked));
        }
    }

    fn leave(&mut self, id: u64) {
        self.step(|coordinator, step| coordinator.leave(step, id));
        let left = self.members.remove(&id);
        assert!(left.is_none_or(|member| member.owns.is_empty()));
    }

    fn nth(&self, index: u8) -> Option<u64> {
        let ids: Vec<u64> = self.members.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[index as usize % ids.len()])
    }

    fn owned(&self, id: u64) -> Vec<u32> {
        self.members[&id].owns.keys().copied().collect()
    }

    fn events(&mut self, id: u64) -> Vec<AssignmentEvent> {
        std::mem::take(&mut self.members.get_mut(&id).unwrap().events)
    }

    /// Everybody does as told until nothing more is asked.
    fn settle(&mut self) {
        for _ in 0..10 {
            let ids: Vec<u64> = self.members.keys().copied().collect();
            for &id in &ids {
                self.give_up(id);
                self.poll(id);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Action {
    Join(Option<u8>),
    Poll(u8),
    GiveUp(u8),
    Leave(u8),
    Wait(u8),
    Lose(u8),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => proptest::option::of(0u8..3).prop_map(Action::Join),
        6 => any::<u8>().prop_map(Action::Poll),
        4 => any::<u8>().prop_map(Action::GiveUp),
        1 => any::<u8>().prop_map(Action::Leave),
        3 => (0u8..40).prop_map(Action::Wait),
        1 => any::<u8>().prop_map(Action::Lose),
    ]
}

fn assignor() -> impl Strategy<Value = Assignor> {
    prop_oneof![
        Just(Assignor::Range),
        Just(Assignor::RoundRobin),
        Just(Assignor::Sticky),
        Just(Assignor::CooperativeSticky),
    ]
}

proptest! {
    /// Whatever members do: one owner per partition, no grant twice, and once they do as told again all partitions have an
    /// owner, shared evenly.
    #[test]
    fn one_owner_at_a_time_and_all_of_it_in_the_end(
        assignor in assignor(),
        partitions in 1u32..9,
        actions in prop::collection::vec(action(), 0..80),
    ) {
        let mut world = World::new(assignor, partitions);
        let mut next = 0;
        for action in actions {
            match action {
                Action::Join(instance) => {
                    next += 1;
                    let instance = instance.map(|number| format!("node-{number}"));
                    prop_assert_eq!(world.join(next, instance.as_deref()), Ok(()));
                }
                Action::Poll(index) => if let Some(id) = world.nth(index) { world.poll(id) },
                Action::GiveUp(index) => if let Some(id) = world.nth(index) { world.give_up(id) },
                Action::Leave(index) => if let Some(id) = world.nth(index) { world.leave(id) },
                Action::Wait(seconds) => world.now += Duration::from_secs(seconds.into()),
                Action::Lose(partition) => {
                    let partition = u32::from(partition) % partitions;
                    world.step(|coordinator, step| coordinator.lose(step, &[partition]));
                    world.step(|coordinator, step| coordinator.give(step, &[partition]));
                }
            }
        }
        world.members.retain(|_, member| !member.replaced);
        world.settle();
        // Static members that went and did not come back.
        world.now += SESSION + Duration::from_secs(1);
        world.settle();
        world.settle();
        let owned: Vec<usize> = world.members.values().map(|member| member.owns.len()).collect();
        if owned.is_empty() {
            return Ok(());
        }
        prop_assert_eq!(owned.iter().sum::<usize>(), partitions as usize);
        let (most, least) = (owned.iter().max(), owned.iter().min());
        prop_assert!(most.unwrap() - least.unwrap() <= 1, "{:?}", owned);
    }
}

fn revoking(event: &AssignmentEvent) -> Option<&[u32]> {
    match event {
        AssignmentEvent::Revoking { partitions, .. } => Some(partitions),
        _ => None,
    }
}

fn assigned(event: &AssignmentEvent) -> Option<Vec<u32>> {
    match event {
        AssignmentEvent::Assigned(granted) => {
            Some(granted.iter().map(|granted| granted.partition).collect())
        }
        _ => None,
    }
}

#[test]
fn cooperative_members_keep_what_stays() {
    let mut world = World::new(Assignor::CooperativeSticky, 4);
    world.join(1, None).unwrap();
    world.events(1);
    let before = world.members[&1].owns.clone();
    world.join(2, None).unwrap();
    assert!(world.events(2).is_empty(), "the round waits for the other");
    world.poll(1);
    let [revoked, nothing] = &world.events(1)[..] else {
        panic!("asked for two, given nothing");
    };
    let revoked = revoking(revoked).unwrap().to_vec();
    assert_eq!((revoked.len(), assigned(nothing)), (2, Some(vec![])));
    assert_eq!(assigned(&world.events(2)[0]), Some(vec![]));
    world.give_up(1);
    assert_eq!(assigned(&world.events(2)[0]), Some(revoked));
    let kept = &world.members[&1].owns;
    assert_eq!(kept.len(), 2);
    assert!(
        kept.iter()
            .all(|(partition, grant)| before[partition] == *grant)
    );
}

#[test]
fn eager_members_give_up_everything_before_anybody_gets_anything() {
    for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky] {
        let mut world = World::new(assignor, 4);
        world.join(1, None).unwrap();
        world.events(1);
        world.join(2, None).unwrap();
        world.poll(1);
        let events = world.events(1);
        assert_eq!(events.len(), 1);
        assert_eq!(revoking(&events[0]), Some(&[0, 1, 2, 3][..]));
        assert!(world.events(2).is_empty());
        world.give_up(1);
        let (one, two) = (world.events(1), world.events(2));
        assert_eq!(assigned(&one[0]).unwrap().len(), 2);
        assert_eq!(assigned(&two[0]).unwrap().len(), 2);
    }
}

#[test]
fn a_silent_member_holds_the_round_up_until_its_session_ends() {
    let mut world = World::new(Assignor::CooperativeSticky, 4);
    world.join(1, None).unwrap();
    world.join(2, None).unwrap();
    for _ in 0..3 {
        world.now += SESSION / 4;
        world.poll(2);
        assert!(world.owned(2).is_empty());
    }
    world.now += SESSION / 2;
    world.poll(2);
    assert_eq!(world.owned(2), [0, 1, 2, 3]);
    let events = world.events(1);
    let AssignmentEvent::Lost(lost) = &events[1] else {
        panic!("{events:?}");
    };
    assert_eq!(lost, &[0, 1, 2, 3]);
    // It wakes up and joins again.
    world.settle();
    assert_eq!((world.owned(1).len(), world.owned(2).len()), (2, 2));
}

#[test]
fn a_member_that_does_not_give_up_in_time_loses_everything() {
    let mut world = World::new(Assignor::CooperativeSticky, 4);
    world.join(1, None).unwrap();
    world.join(2, None).unwrap();
    world.poll(1);
    for _ in 0..=POLL.as_secs() {
        world.now += Duration::from_secs(1);
        world.poll(1);
        world.poll(2);
    }
    let lost =
        |event: &AssignmentEvent| matches!(event, AssignmentEvent::Lost(lost) if lost.len() == 4);
    assert!(world.events(1).iter().any(lost));
}

#[test]
fn a_member_that_commits_and_never_polls_is_put_out() {
    let mut world = World::new(Assignor::CooperativeSticky, 2);
    world.join(1, None).unwrap();
    world.join(2, None).unwrap();
    world.settle();
    for second in 0..=POLL.as_secs() {
        assert_eq!(world.owned(1).len(), 1, "after {second} s");
        world.now += Duration::from_secs(1);
        world.coordinator.hear(world.now, 1);
        world.poll(2);
    }
    assert_eq!(world.owned(2), [0, 1]);
}

#[test]
fn a_static_member_comes_back_to_its_share_and_disturbs_nobody() {
    let mut world = World::new(Assignor::CooperativeSticky, 4);
    world.join(1, Some("a")).unwrap();
    world.join(2, Some("b")).unwrap();
    world.settle();
    let (share, generation) = (world.owned(1), world.coordinator.generation());
    world.events(2);
    world.leave(1);
    world.now += SESSION / 2;
    world.poll(2);
    world.join(3, Some("a")).unwrap();
    assert_eq!(world.owned(3), share);
    assert!(world.events(2).is_empty());
    assert_eq!(world.coordinator.generation(), generation);
    // It does not come back this time.
    world.leave(3);
    for _ in 0..5 {
        world.now += SESSION / 4;
        world.poll(2);
    }
    assert_eq!(world.owned(2), [0, 1, 2, 3]);
}

#[test]
fn of_two_members_with_one_instance_id_the_later_stays() {
    let mut world = World::new(Assignor::CooperativeSticky, 4);
    world.join(1, Some("a")).unwrap();
    world.join(2, Some("a")).unwrap();
    assert!(world.members[&1].replaced && world.owned(1).is_empty());
    assert_eq!(world.owned(2), [0, 1, 2, 3]);
    // One that was put out while it slept is fenced when it wakes up and finds its name taken.
    world.members.remove(&1);
    world.join(3, None).unwrap();
    world.settle();
    world.now += SESSION + Duration::from_secs(1);
    world.poll(3);
    world.join(4, Some("a")).unwrap();
    world.poll(2);
    assert!(!world.members.contains_key(&2), "fenced");
}

#[test]
fn who_must_be_alone_is_refused_beside_others_and_refuses_them() {
    let mut world = World::new(Assignor::CooperativeSticky, 2);
    let exclusive = |member| Joining {
        member,
        instance: None,
        exclusive: true,
        again: false,
    };
    world.members.insert(1, Member::default());
    let alone = world.step(|coordinator, step| coordinator.join(step, exclusive(1)));
    assert_eq!((alone, world.owned(1).len()), (Ok(()), 2));
    assert_eq!(world.join(2, None), Err(Refused::Occupied));
    world.members.remove(&2);
    world.leave(1);
    world.join(3, None).unwrap();
    let beside = world.step(|coordinator, step| coordinator.join(step, exclusive(4)));
    assert_eq!(beside, Err(Refused::Occupied));
    assert_eq!(world.owned(3).len(), 2);
}
