//! The assignors: exact results by name, and properties against naive models.
//!
//! The models enumerate what the assignors compute: who owns what by comparing every pair of claims, the least number of
//! moves by trying every way to hand out the larger quotas.

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::{Assignor, Candidate};

const ALL: [Assignor; 4] = [
    Assignor::Range,
    Assignor::RoundRobin,
    Assignor::Sticky,
    Assignor::CooperativeSticky,
];

/// A member with what it says of itself.
#[derive(Clone, Debug)]
struct Member {
    name: String,
    owned: Vec<u32>,
    generation: u64,
}

impl Member {
    fn new(name: impl Into<String>, owned: impl Into<Vec<u32>>, generation: u64) -> Self {
        Self {
            name: name.into(),
            owned: owned.into(),
            generation,
        }
    }

    fn claims(&self, partition: u32) -> bool {
        self.owned.contains(&partition)
    }
}

fn candidates(members: &[Member]) -> Vec<Candidate<'_>> {
    let candidates = members.iter().map(|member| Candidate {
        name: &member.name,
        owned: &member.owned,
        generation: member.generation,
    });
    candidates.collect()
}

fn target(assignor: Assignor, partitions: u32, members: &[Member]) -> Vec<Vec<u32>> {
    assignor.target(partitions, &candidates(members))
}

/// The same members after a round: they own their shares and nothing else.
fn after(members: &[Member], shares: &[Vec<u32>], generation: u64) -> Vec<Member> {
    let next = |(member, share): (&Member, &Vec<u32>)| {
        Member::new(member.name.clone(), share.clone(), generation)
    };
    members.iter().zip(shares).map(next).collect()
}

/// The member whose claim counts: younger than every other claim.
fn owner(members: &[Member], partition: u32) -> Option<usize> {
    (0..members.len()).find(|&one| {
        members[one].claims(partition)
            && members.iter().enumerate().all(|(other, member)| {
                other == one
                    || !member.claims(partition)
                    || member.generation < members[one].generation
            })
    })
}

/// How many partitions get another owner, or a first one.
fn moves(members: &[Member], shares: &[Vec<u32>]) -> usize {
    let moved = |(member, share): (usize, &Vec<u32>)| {
        let new = share
            .iter()
            .filter(|&&partition| owner(members, partition) != Some(member));
        new.count()
    };
    shares.iter().enumerate().map(moved).sum()
}

/// The least number of moves that balance allows: every way to hand out the larger quotas is tried.
fn least_moves(partitions: u32, members: &[Member]) -> usize {
    let mut owned = vec![0; members.len()];
    let mut unowned = 0;
    for partition in 0..partitions {
        match owner(members, partition) {
            Some(member) => owned[member] += 1,
            None => unowned += 1,
        }
    }
    let (least, more) = (
        partitions as usize / members.len(),
        partitions as usize % members.len(),
    );
    let ways = (0..1_u32 << members.len()).filter(|way| way.count_ones() as usize == more);
    let taken = ways.map(|way| {
        let above = owned
            .iter()
            .enumerate()
            .map(|(member, owned): (_, &usize)| {
                owned.saturating_sub(least + (way >> member & 1) as usize)
            });
        above.sum::<usize>()
    });
    unowned + taken.min().expect("there is a way")
}

fn is_balanced(shares: &[Vec<u32>]) -> bool {
    let sizes = shares.iter().map(Vec::len);
    sizes.clone().max().unwrap_or(0) <= sizes.min().unwrap_or(0) + 1
}

/// Every partition in exactly one share, each share ascending.
fn is_whole(partitions: u32, shares: &[Vec<u32>]) -> bool {
    let mut all = shares.concat();
    all.sort_unstable();
    all.into_iter().eq(0..partitions) && shares.iter().all(|share| share.is_sorted())
}

fn is_subset(part: &[u32], whole: &[u32]) -> bool {
    part.iter().all(|partition| whole.contains(partition))
}

/// Members in any order of names with any claims: of several generations, contradicting each other, on partitions that
/// do not exist.
fn members(
    partitions: u32,
    count: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = Vec<Member>> {
    let claimable: Vec<u32> = (0..partitions + 3).collect();
    let claim = (
        subsequence(claimable.clone(), 0..=claimable.len()),
        0..4_u64,
    );
    let names = subsequence(('a'..='j').collect::<Vec<char>>(), count).prop_shuffle();
    names.prop_flat_map(move |names| {
        prop::collection::vec(claim.clone(), names.len()).prop_map(move |claims| {
            let member = |(name, (owned, generation)): (&char, (Vec<u32>, u64))| {
                Member::new(*name, owned, generation)
            };
            names.iter().zip(claims).map(member).collect()
        })
    })
}

/// A topic and its group.
fn group(count: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = (u32, Vec<Member>)> {
    (0..=24_u32)
        .prop_flat_map(move |partitions| (Just(partitions), members(partitions, count.clone())))
}

fn assignor() -> impl Strategy<Value = Assignor> {
    prop::sample::select(ALL.to_vec())
}

fn sticky() -> impl Strategy<Value = Assignor> {
    prop::sample::select(vec![Assignor::Sticky, Assignor::CooperativeSticky])
}

#[test]
fn names_are_read_back() {
    for assignor in ALL {
        assert_eq!(Assignor::parse(assignor.name()), Some(assignor));
    }
    assert_eq!(Assignor::parse("Range"), None);
    assert_eq!(Assignor::default().name(), "cooperative-sticky");
}

#[test]
fn nobody_gets_nothing() {
    for assignor in ALL {
        assert!(target(assignor, 3, &[]).is_empty());
    }
}

#[test]
fn range_is_contiguous_and_the_first_by_name_get_one_more() {
    let members = ["c", "a", "b"].map(|name| Member::new(name, [], 0));
    let shares = target(Assignor::Range, 8, &members);
    assert_eq!(shares, [vec![6, 7], vec![0, 1, 2], vec![3, 4, 5]]);
}

#[test]
fn round_robin_goes_by_name_and_sticky_does_so_when_nobody_owns_anything() {
    let members = ["c", "a", "b"].map(|name| Member::new(name, [], 0));
    for assignor in &ALL[1..] {
        let shares = target(*assignor, 8, &members);
        assert_eq!(shares, [vec![2, 5], vec![0, 3, 6], vec![1, 4, 7]]);
    }
}

#[test]
fn more_members_than_partitions_leave_some_without() {
    let members = ["a", "b", "c"].map(|name| Member::new(name, [], 0));
    for assignor in ALL {
        assert_eq!(target(assignor, 2, &members), [vec![0], vec![1], vec![]]);
    }
}

#[test]
fn who_owns_the_most_keeps_the_larger_quota() {
    let members = [Member::new("a", [0], 1), Member::new("b", [1, 2, 3, 4], 1)];
    let shares = target(Assignor::Sticky, 5, &members);
    assert_eq!(shares, [vec![0, 4], vec![1, 2, 3]]);
}

#[test]
fn what_is_taken_and_what_nobody_owned_is_dealt_together_in_order() {
    let owner = Member::new("a", [0, 1, 2, 3, 4], 1);
    let members = [owner, Member::new("b", [], 0), Member::new("c", [], 0)];
    let shares = target(Assignor::Sticky, 6, &members);
    assert_eq!(shares, [vec![0, 1], vec![2, 4], vec![3, 5]]);
}

#[test]
fn claims_of_one_generation_contradict_each_other_and_none_counts() {
    let members = [Member::new("a", [0, 1], 7), Member::new("b", [1], 7)];
    assert_eq!(
        target(Assignor::CooperativeSticky, 2, &members),
        [vec![0], vec![1]]
    );
    // A third claim that is younger ends the dispute, wherever it is heard.
    let younger = Member::new("c", [1], 8);
    let [a, b] = members;
    for members in [
        [a.clone(), b.clone(), younger.clone()],
        [a.clone(), younger.clone(), b.clone()],
        [younger, a, b],
    ] {
        let shares = target(Assignor::CooperativeSticky, 2, &members);
        let at = members.iter().position(|member| member.name == "c");
        assert_eq!(shares[at.expect("it is there")], [1]);
    }
}

proptest! {
    #[test]
    fn a_target_is_whole_and_balanced(assignor in assignor(), (partitions, members) in group(1..=8)) {
        let target = target(assignor, partitions, &members);
        prop_assert_eq!(target.len(), members.len());
        prop_assert!(is_whole(partitions, &target), "{:?}", target);
        prop_assert!(is_balanced(&target), "{:?}", target);
    }

    #[test]
    fn range_and_round_robin_are_their_formulas((partitions, members) in group(1..=8)) {
        let (count, total) = (members.len(), partitions as usize);
        let range = target(Assignor::Range, partitions, &members);
        let round_robin = target(Assignor::RoundRobin, partitions, &members);
        for (at, member) in members.iter().enumerate() {
            let rank = members.iter().filter(|other| other.name < member.name).count();
            // As `RangeAssignor` writes it.
            let start = total / count * rank + rank.min(total % count);
            let length = total / count + usize::from(rank < total % count);
            let run: Vec<usize> = (start..start + length).collect();
            let turns: Vec<usize> = (0..total).filter(|partition| partition % count == rank).collect();
            prop_assert!(range[at].iter().map(|&partition| partition as usize).eq(run));
            prop_assert!(round_robin[at].iter().map(|&partition| partition as usize).eq(turns));
        }
    }

    #[test]
    fn the_order_of_members_does_not_matter(
        assignor in assignor(),
        (partitions, members, shuffled) in group(0..=8)
            .prop_flat_map(|(partitions, members)| (Just(partitions), Just(members.clone()), Just(members).prop_shuffle())),
    ) {
        let shares = target(assignor, partitions, &members);
        let others = target(assignor, partitions, &shuffled);
        for (member, share) in members.iter().zip(&shares) {
            let at = shuffled.iter().position(|other| other.name == member.name);
            prop_assert_eq!(share, &others[at.expect("the same members")]);
        }
    }

    #[test]
    fn sticky_moves_the_least_that_balance_allows(assignor in sticky(), (partitions, members) in group(1..=8)) {
        let target = target(assignor, partitions, &members);
        prop_assert_eq!(moves(&members, &target), least_moves(partitions, &members));
    }

    #[test]
    fn both_sticky_assignors_have_one_target((partitions, members) in group(0..=8)) {
        prop_assert_eq!(
            target(Assignor::Sticky, partitions, &members),
            target(Assignor::CooperativeSticky, partitions, &members)
        );
    }

    #[test]
    fn an_outcome_assigned_again_moves_nothing(assignor in assignor(), (partitions, members) in group(1..=8)) {
        let first = target(assignor, partitions, &members);
        let settled = after(&members, &first, 9);
        prop_assert_eq!(target(assignor, partitions, &settled), first);
    }

    #[test]
    fn one_who_joins_takes_its_share_only(
        assignor in sticky(),
        (partitions, mut members) in group(2..=8),
        name in prop::sample::select(vec!["0", "e+", "z"]),
    ) {
        let before = target(assignor, partitions, &members);
        members = after(&members, &before, 9);
        members.push(Member::new(name, [], 0));
        let target = target(assignor, partitions, &members);
        let (joined, stayed) = target.split_last().expect("it joined");
        prop_assert_eq!(moves(&members, &target), joined.len());
        for (now, before) in stayed.iter().zip(&before) {
            prop_assert!(is_subset(now, before), "{:?} of {:?}", now, before);
        }
    }

    #[test]
    fn one_who_leaves_moves_what_it_had_only(assignor in sticky(), (partitions, mut members) in group(2..=8)) {
        let mut before = target(assignor, partitions, &members);
        members = after(&members, &before, 9);
        members.pop();
        let left = before.pop().expect("it left");
        // Nobody has to let anything go, so one round is enough.
        let shares = target(assignor, partitions, &members);
        prop_assert!(is_whole(partitions, &shares));
        prop_assert_eq!(moves(&members, &shares), left.len());
        for (now, before) in shares.iter().zip(&before) {
            prop_assert!(is_subset(before, now), "{:?} in {:?}", before, now);
        }
    }
}
