//! Missing records: every case by name, and members that begin, end, lose records and see their topic grow, against a
//! model that knows what happened.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::progress::{Absence, Census, Evidence, Founding, Witness};

fn said(partitions: u32, known: u32) -> Witness {
    Witness::SameLog(Founding { partitions, known })
}

fn before(partitions: u32, known: u32) -> Witness {
    Witness::OtherLog(Founding { partitions, known })
}

#[test]
fn every_case_of_a_missing_record() {
    const OTHER: Absence = Absence::Lost(Evidence::OtherRecord);
    const UNREADABLE: Absence = Absence::Lost(Evidence::UnreadableRecord);
    let bad = Witness::Unreadable;
    // What the case is; partitions of the topic; records; the partition without one; the verdict.
    type Case<'a> = (&'a str, u32, &'a [(u32, Witness)], u32, Absence);
    let cases: &[Case<'_>] = &[
        ("nobody was here", 4, &[], 2, Absence::New),
        (
            "another has only just begun",
            4,
            &[(0, said(4, 0))],
            1,
            Absence::New,
        ),
        (
            "another began, ours is next",
            4,
            &[(0, said(4, 1))],
            1,
            Absence::New,
        ),
        (
            "a gap in those that began",
            4,
            &[(0, said(4, 1)), (3, said(4, 1))],
            2,
            Absence::New,
        ),
        (
            "one knows that all were there",
            4,
            &[(0, said(4, 1)), (3, said(4, 4))],
            1,
            OTHER,
        ),
        (
            "one knows that ours was there",
            4,
            &[(3, said(4, 2))],
            1,
            OTHER,
        ),
        (
            "the topic grew",
            6,
            &[(0, said(4, 4)), (1, said(4, 4))],
            5,
            Absence::Grown,
        ),
        (
            "it grew before all had begun",
            6,
            &[(0, said(4, 1))],
            4,
            Absence::Grown,
        ),
        (
            "one that began before the growth is missing",
            6,
            &[(0, said(4, 1))],
            2,
            Absence::New,
        ),
        (
            "a sibling of the growth came first",
            6,
            &[(0, said(4, 4)), (4, said(4, 5))],
            5,
            Absence::Grown,
        ),
        (
            "what was added had a record",
            6,
            &[(0, said(4, 4)), (1, said(4, 6))],
            5,
            OTHER,
        ),
        (
            "they began while it grew",
            6,
            &[(0, said(4, 0)), (1, said(6, 0))],
            5,
            Absence::Grown,
        ),
        (
            "the listing shows it, the read does not",
            4,
            &[(0, said(4, 0)), (2, said(4, 0))],
            2,
            OTHER,
        ),
        (
            "an unreadable record may have known",
            4,
            &[(0, said(4, 1)), (3, bad)],
            2,
            UNREADABLE,
        ),
        (
            "also of what was added",
            6,
            &[(0, said(4, 1)), (3, bad)],
            5,
            UNREADABLE,
        ),
        (
            "a readable one that knows is named",
            4,
            &[(0, said(4, 4)), (3, bad)],
            2,
            OTHER,
        ),
        ("unreadable ones alone", 4, &[(0, bad)], 2, UNREADABLE),
        (
            "the topic of before had it",
            6,
            &[(0, before(4, 4))],
            2,
            OTHER,
        ),
        (
            "the topic of before did not",
            6,
            &[(0, before(4, 4))],
            5,
            Absence::Grown,
        ),
        (
            "this topic goes before that of before",
            6,
            &[(0, said(6, 1)), (1, before(9, 9))],
            3,
            Absence::New,
        ),
    ];
    for (what, partitions, records, partition, verdict) in cases {
        let census = Census::of(*partitions, records.iter().copied());
        assert_eq!(census.judge(*partition, false), *verdict, "{what}");
        if !records.is_empty() {
            assert_eq!(census.judge(*partition, true), *verdict, "{what}, used");
        }
    }
    let used = Census::of(4, []).judge(2, true);
    assert_eq!(used, Absence::Lost(Evidence::OwnTopics));
}

#[test]
fn what_a_record_says_is_carried_on_and_counts_without_gaps() {
    let founding = |partitions, records: &[(u32, Witness)]| {
        let said = Census::of(partitions, records.iter().copied()).founding();
        (said.partitions, said.known)
    };
    assert_eq!(founding(4, &[]), (4, 0));
    assert_eq!(
        founding(4, &[(0, said(4, 0)), (1, said(4, 0)), (3, said(4, 0))]),
        (4, 2)
    );
    assert_eq!(founding(4, &[(1, said(4, 1)), (2, said(4, 0))]), (4, 3));
    assert_eq!(
        founding(9, &[(8, said(4, 4))]),
        (4, 4),
        "it grew, and one of the new ones has one"
    );
    assert_eq!(
        founding(4, &[(0, Witness::Unreadable)]),
        (4, 1),
        "a record all the same"
    );
    assert_eq!(
        founding(3, &[(0, before(9, 9)), (1, before(9, 9))]),
        (3, 2),
        "created again"
    );
}

#[test]
fn what_the_group_has_taken_up() {
    let taken_up = |records: &[(u32, Witness)]| Census::of(12, records.iter().copied()).taken_up();
    assert_eq!(taken_up(&[]), None);
    assert_eq!(taken_up(&[(0, said(12, 1))]), Some(12), "it still begins");
    assert_eq!(taken_up(&[(0, said(6, 6))]), Some(6), "it grew");
    assert_eq!(
        taken_up(&[(0, said(6, 6)), (11, said(6, 6))]),
        Some(12),
        "and was accepted"
    );
    assert_eq!(taken_up(&[(0, said(6, 9))]), Some(9));
}

/// Partitions that a topic of the model has at most.
const MOST: u32 = 8;

#[derive(Clone, Debug)]
enum Step {
    /// A member takes over those of these partitions that are free.
    Begin(u8),
    /// One of the members that are on their way does its next step.
    Go(prop::sample::Index),
    /// A member that dispatches looks who else is there.
    Learn(prop::sample::Index),
    /// A member dies where it is.
    Crash(prop::sample::Index),
    /// A record is lost, unless it is the last one.
    Expire(prop::sample::Index),
    /// A partition is added.
    Grow,
}

/// An undisturbed while, in which a group may get through its beginning, and then anything.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let begin = || any::<u8>().prop_map(Step::Begin);
    let go = || index().prop_map(Step::Go);
    let learn = || index().prop_map(Step::Learn);
    let calm = prop_oneof![2 => begin(), 8 => go(), 2 => learn()];
    let any = prop_oneof![
        3 => begin(),
        12 => go(),
        1 => learn(),
        2 => index().prop_map(Step::Crash),
        2 => index().prop_map(Step::Expire),
        1 => Just(Step::Grow),
    ];
    let calm = prop::collection::vec(calm, 0..120);
    let any = prop::collection::vec(any, 0..100);
    (calm, any).prop_map(|(calm, any)| [calm, any].concat())
}

/// How far a member is with a takeover.
#[derive(Clone, Debug)]
enum Stage {
    Read,
    /// Found no record, and looks at the group's own topics.
    Empty,
    Judge(Census, bool),
    Write(Founding, Vec<u32>),
    CountAgain(Founding),
    /// What is to be written before it dispatches, and where; it is not done before all of it is.
    WriteAgain(Founding, Vec<u32>),
    Dispatches,
}

#[derive(Clone, Debug)]
struct Member {
    owns: Vec<u32>,
    stage: Stage,
    learned: bool,
}

/// The store, the members, and what happened.
#[derive(Debug, Default)]
struct Model {
    partitions: u32,
    store: BTreeMap<u32, Founding>,
    members: Vec<Member>,
    own_topics_used: bool,
    had: BTreeSet<u32>,
    /// The size of the topic when the first member looked, and when the first record was written.
    first_look: Option<u32>,
    first_record: Option<u32>,
    anything_lost: bool,
    /// Every partition was dispatched by members that all have looked again since.
    begun: bool,
}

impl Model {
    fn census(&self) -> Census {
        let records = self.store.iter();
        Census::of(
            self.partitions,
            records.map(|(partition, said)| (*partition, Witness::SameLog(*said))),
        )
    }

    fn write(&mut self, partition: u32, founding: Founding) {
        self.first_record.get_or_insert(self.partitions);
        self.had.insert(partition);
        self.store.insert(partition, founding);
    }

    fn judge(&self, partition: u32, verdict: Absence) {
        let had = self.had.contains(&partition);
        match verdict {
            Absence::Lost(_) => assert!(had, "{partition} is lost, and never was: {self:?}"),
            Absence::New => {
                assert!(
                    !had || !self.begun,
                    "{partition} is new, and had one: {self:?}"
                );
                let added = self.first_record.is_some_and(|size| partition >= size);
                let told = self.begun || !self.anything_lost;
                assert!(
                    !added || !told,
                    "{partition} is new, and was added: {self:?}"
                );
            }
            Absence::Grown => {
                let there = self.first_look.is_some_and(|size| partition < size);
                assert!(!there, "{partition} was added, and always there: {self:?}");
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Begin(wanted) => {
                let free = |partition: &u32| {
                    self.members
                        .iter()
                        .all(|member| !member.owns.contains(partition))
                };
                let owns: Vec<u32> = (0..self.partitions)
                    .filter(|partition| wanted & (1 << partition) != 0)
                    .filter(free)
                    .collect();
                if !owns.is_empty() {
                    self.members.push(Member {
                        owns,
                        stage: Stage::Read,
                        learned: false,
                    });
                }
            }
            Step::Go(index) => self.at(&index, Self::go),
            Step::Learn(index) => self.at(&index, Self::learn),
            Step::Crash(index) => self.at(&index, |_, member| member.owns.clear()),
            Step::Expire(index) if self.store.len() > 1 => {
                let partition = *index.get(&self.store.keys().copied().collect::<Vec<_>>());
                self.store.remove(&partition);
                self.anything_lost = true;
            }
            Step::Grow if self.partitions < MOST => self.partitions += 1,
            Step::Expire(_) | Step::Grow => {}
        }
        self.check();
    }

    /// Lets a member act; one that owns nothing afterwards is gone.
    fn at(&mut self, index: &prop::sample::Index, act: impl Fn(&mut Self, &mut Member)) {
        if self.members.is_empty() {
            return;
        }
        let index = index.index(self.members.len());
        let mut member = self.members.remove(index);
        act(self, &mut member);
        if !member.owns.is_empty() {
            self.members.insert(index, member);
        }
    }

    fn go(&mut self, member: &mut Member) {
        member.stage = match std::mem::replace(&mut member.stage, Stage::Read) {
            Stage::Read => {
                self.first_look.get_or_insert(self.partitions);
                match self.census() {
                    census if census.is_empty() => Stage::Empty,
                    census => Stage::Judge(census, false),
                }
            }
            Stage::Empty if self.own_topics_used => {
                let census = self.census();
                let used = census.is_empty();
                Stage::Judge(census, used)
            }
            Stage::Empty => Stage::Judge(Census::of(self.partitions, []), false),
            Stage::Judge(census, used) => {
                for &partition in &member.owns {
                    if !self.store.contains_key(&partition) {
                        self.judge(partition, census.judge(partition, used));
                    }
                }
                Stage::Write(census.founding(), member.owns.clone())
            }
            // One record after the other: a crash in between leaves some of them.
            Stage::Write(founding, mut left) => {
                let partition = left.pop().expect("not empty");
                let mut record = self.store.get(&partition).copied().unwrap_or(founding);
                record.learn(founding);
                self.write(partition, record);
                if left.is_empty() {
                    Stage::CountAgain(founding)
                } else {
                    Stage::Write(founding, left)
                }
            }
            Stage::CountAgain(before) => match self.census().founding() {
                founding if founding == before => Stage::Dispatches,
                founding => Stage::WriteAgain(founding, member.owns.clone()),
            },
            Stage::WriteAgain(founding, mut left) => {
                let partition = left.pop().expect("not empty");
                self.write(partition, founding);
                if left.is_empty() {
                    Stage::Dispatches
                } else {
                    Stage::WriteAgain(founding, left)
                }
            }
            Stage::Dispatches => {
                self.own_topics_used = true;
                Stage::Dispatches
            }
        };
    }

    fn learn(&mut self, member: &mut Member) {
        if !matches!(member.stage, Stage::Dispatches) {
            return;
        }
        // What it learns is all there is only once everybody dispatches.
        member.learned = self.dispatched(Some(member)) == self.partitions;
        let all = self.census().founding();
        for &partition in &member.owns {
            if let Some(mut record) = self.store.get(&partition).copied() {
                record.learn(all);
                self.write(partition, record);
            }
        }
    }

    /// Partitions in the hands of members that dispatch; `acting` is one that is not in the list now.
    fn dispatched(&self, acting: Option<&Member>) -> u32 {
        let members = self.members.iter().chain(acting);
        let dispatching = members.filter(|member| matches!(member.stage, Stage::Dispatches));
        dispatching.map(|member| member.owns.len()).sum::<usize>() as u32
    }

    fn check(&mut self) {
        if self.anything_lost || self.dispatched(None) < self.partitions {
            return;
        }
        let known = self.store.values().map(|said| said.known).max();
        assert_eq!(known, Some(self.partitions), "nobody knows all: {self:?}");
        self.begun |= self.members.iter().all(|member| member.learned);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn members_that_begin_beside_each_other(partitions in 1..6u32, steps in steps()) {
        let mut model = Model { partitions, ..Model::default() };
        for step in steps {
            model.step(step);
        }
    }
}
