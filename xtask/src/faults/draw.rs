//! What a campaign does, drawn from its seed: a pure function, so that a printed seed says it all again.
//!
//! Kinds of faults come from a deck that is shuffled and dealt to its end before it is shuffled again: any [`ROUNDS_OF_ALL`]
//! rounds from the first on have every kind. A round's draws do not depend on how many rounds follow.

use crate::random::Random;
use std::fmt;

/// Members of the group, apart from those that come and go.
pub(super) const MEMBERS: usize = 3;
/// Brokers of the cluster.
pub(super) const NODES: usize = 3;
/// After so many rounds there was every kind.
pub(crate) const ROUNDS_OF_ALL: u32 = 3;
/// Kinds that a round takes from the deck.
const DEALT: usize = 3;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    KillMember,
    FreezeMember,
    KillBroker,
    FreezeBroker,
    Storm,
    Roll,
    CutLine,
    SlowLine,
    HoldLine,
}

/// Every kind.
pub(super) const KINDS: [Kind; 9] = [
    Kind::KillMember,
    Kind::FreezeMember,
    Kind::KillBroker,
    Kind::FreezeBroker,
    Kind::Storm,
    Kind::Roll,
    Kind::CutLine,
    Kind::SlowLine,
    Kind::HoldLine,
];

/// One fault. Times are in milliseconds, members and nodes count from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL, and a new one in its place.
    KillMember { member: usize },
    /// SIGSTOP for longer than the session timeout, then SIGCONT: it wakes as an owner that is none any more.
    FreezeMember { member: usize, ms: u64 },
    /// SIGKILL of a node, which leads a third of the partitions, and a new process on its data.
    KillBroker { node: usize, ms: u64 },
    /// SIGSTOP of a node: connections stay open and nothing is answered.
    FreezeBroker { node: usize, ms: u64 },
    /// Members that come, and go after so long; the flag says whether by SIGKILL or by SIGTERM.
    Storm { stays: Vec<(u64, bool)> },
    /// Each member in turn is stopped by SIGTERM and started again under its `instance_id`.
    Roll,
    /// Every connection of clients to a node is reset, again and again, each time after so long.
    CutLine { node: usize, after: Vec<u64> },
    /// What clients and a node say to each other is late, and passes at a few bytes a second.
    SlowLine {
        node: usize,
        ms: u64,
        delay_ms: u64,
        bytes: u64,
    },
    /// Nothing passes between clients and a node, or nothing from it; the other nodes see it in good health.
    HoldLine {
        node: usize,
        ms: u64,
        /// The node hears its clients, and they do not hear it.
        one_way: bool,
    },
}

impl Fault {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::KillMember { .. } => Kind::KillMember,
            Self::FreezeMember { .. } => Kind::FreezeMember,
            Self::KillBroker { .. } => Kind::KillBroker,
            Self::FreezeBroker { .. } => Kind::FreezeBroker,
            Self::Storm { .. } => Kind::Storm,
            Self::Roll => Kind::Roll,
            Self::CutLine { .. } => Kind::CutLine,
            Self::SlowLine { .. } => Kind::SlowLine,
            Self::HoldLine { .. } => Kind::HoldLine,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillMember { member } => write!(f, "member {} killed", member + 1),
            Self::FreezeMember { member, ms } => {
                write!(f, "member {} frozen {ms} ms", member + 1)
            }
            Self::KillBroker { node, ms } => write!(f, "broker {} gone {ms} ms", node + 1),
            Self::FreezeBroker { node, ms } => write!(f, "broker {} frozen {ms} ms", node + 1),
            Self::Storm { stays } => write!(f, "{} members come and go", stays.len()),
            Self::Roll => write!(f, "rolling restart"),
            Self::CutLine { node, after } => {
                write!(f, "line {} cut {} times", node + 1, after.len())
            }
            Self::SlowLine {
                node,
                ms,
                delay_ms,
                bytes,
            } => write!(
                f,
                "line {} slow for {ms} ms ({delay_ms} ms, {bytes} B/s)",
                node + 1
            ),
            Self::HoldLine { node, ms, one_way } => {
                let way = if *one_way { "mute" } else { "silent" };
                write!(f, "line {} {way} {ms} ms", node + 1)
            }
        }
    }
}

/// How the group decides who has what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// By a member, moving only what changes hands.
    Sticky,
    /// By a member, taking everything from everybody.
    Range,
    /// By the broker (KIP-848).
    Broker,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sticky => "cooperative-sticky",
            Self::Range => "range",
            Self::Broker => "consumer protocol",
        })
    }
}

/// What happens to the publisher: once, in the middle of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interruption {
    /// So long after its start.
    pub(super) after_ms: u64,
    /// SIGKILL and a new process, or SIGSTOP and SIGCONT.
    pub(super) by_kill: bool,
    /// So long nothing is published.
    pub(super) for_ms: u64,
}

/// One round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) protocol: Protocol,
    /// Whether the members are static.
    pub(super) is_static: bool,
    pub(super) session_timeout_ms: u64,
    /// Which handler calls fail.
    pub(super) failures: u64,
    pub(super) publisher: Interruption,
    /// Each with the time before it.
    pub(super) faults: Vec<(u64, Fault)>,
}

impl Round {
    /// Whether a member may lose partitions without having been told: only then may it still work on what another has.
    pub(super) fn may_have_two_owners(&self) -> bool {
        let orderly = |kind| matches!(kind, Kind::KillMember | Kind::Storm | Kind::Roll);
        !self.faults.iter().all(|(_, fault)| orderly(fault.kind()))
    }
}

/// The rounds of a seed, without end.
pub(super) fn rounds(seed: u64) -> impl Iterator<Item = Round> {
    let mut random = Random(seed);
    let mut deck = Vec::new();
    std::iter::repeat_with(move || round(&mut random, &mut deck))
}

fn round(random: &mut Random, deck: &mut Vec<Kind>) -> Round {
    let mut kinds = Vec::new();
    for _ in 0..DEALT {
        if deck.is_empty() {
            deck.extend(KINDS);
            random.shuffle(deck);
        }
        kinds.extend(deck.pop());
    }
    if random.between((0, 1)) == 1 {
        kinds.push(random.one(&KINDS));
    }
    let session_timeout_ms = random.one(&[1_500, 3_000, 6_000]);
    let is_static = kinds.contains(&Kind::Roll) || random.between((0, 3)) == 0;
    Round {
        protocol: random.one(&[Protocol::Sticky, Protocol::Range, Protocol::Broker]),
        is_static,
        session_timeout_ms,
        // Seeds are passed on as decimal numbers; 32 bits are plenty.
        failures: random.next() >> 32,
        publisher: Interruption {
            after_ms: random.between((50, 700)),
            by_kill: random.between((0, 1)) == 1,
            for_ms: random.between((100, 4_000)),
        },
        faults: kinds
            .into_iter()
            .map(|kind| {
                let before = random.between((300, 1_500));
                (before, fault(kind, session_timeout_ms, random))
            })
            .collect(),
    }
}

fn fault(kind: Kind, session_timeout_ms: u64, random: &mut Random) -> Fault {
    let nodes = [0, 1, 2];
    let members = [0, 1, 2];
    // What is beyond it looks like a member or a broker that is dead. The broker's own timeout, of the protocol that it decides,
    // is three seconds.
    let noticed = session_timeout_ms.max(3_000);
    match kind {
        Kind::KillMember => Fault::KillMember {
            member: random.one(&members),
        },
        Kind::FreezeMember => Fault::FreezeMember {
            member: random.one(&members),
            ms: noticed + random.between((500, 2_000)),
        },
        Kind::KillBroker => Fault::KillBroker {
            node: random.one(&nodes),
            ms: random.between((500, 5_000)),
        },
        Kind::FreezeBroker => Fault::FreezeBroker {
            node: random.one(&nodes),
            ms: random.between((500, 5_000)),
        },
        Kind::Storm => Fault::Storm {
            stays: (0..random.between((5, 12)))
                .map(|_| (random.between((100, 800)), random.between((0, 2)) == 0))
                .collect(),
        },
        Kind::Roll => Fault::Roll,
        Kind::CutLine => Fault::CutLine {
            node: random.one(&nodes),
            after: (0..random.between((3, 8)))
                .map(|_| random.between((50, 700)))
                .collect(),
        },
        Kind::SlowLine => Fault::SlowLine {
            node: random.one(&nodes),
            ms: random.between((2_000, 5_000)),
            delay_ms: random.between((20, 400)),
            bytes: random.between((20_000, 200_000)),
        },
        Kind::HoldLine => Fault::HoldLine {
            node: random.one(&nodes),
            // Half of them pass unnoticed.
            ms: random.between((500, 2 * noticed)),
            one_way: random.between((0, 1)) == 1,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, KINDS, Kind, MEMBERS, NODES, ROUNDS_OF_ALL, Round, rounds};
    use std::collections::BTreeSet;

    fn take(seed: u64, count: usize) -> Vec<Round> {
        rounds(seed).take(count).collect()
    }

    #[test]
    fn a_seed_draws_the_same_rounds_however_many_follow() {
        assert_eq!(take(7, 3), take(7, 20)[..3]);
        assert_ne!(take(7, 3), take(8, 3));
    }

    #[test]
    fn every_kind_is_in_the_first_rounds() {
        for seed in 0..200 {
            let first = take(seed, ROUNDS_OF_ALL as usize);
            let faults = first.iter().flat_map(|round| &round.faults);
            let kinds: BTreeSet<Kind> = faults.map(|(_, fault)| fault.kind()).collect();
            assert_eq!(kinds.len(), KINDS.len(), "seed {seed}");
        }
    }

    #[test]
    fn a_round_is_one_that_can_be_carried_out() {
        for round in take(1, 500) {
            let has = |kind| round.faults.iter().any(|(_, fault)| fault.kind() == kind);
            assert!(round.faults.len() >= 3);
            assert!(round.is_static || !has(Kind::Roll), "a roll needs ids");
            for (_, fault) in &round.faults {
                match fault {
                    Fault::KillMember { member } => assert!(*member < MEMBERS),
                    Fault::FreezeMember { member, ms } => {
                        assert!(*member < MEMBERS && *ms > round.session_timeout_ms);
                    }
                    Fault::KillBroker { node, .. }
                    | Fault::FreezeBroker { node, .. }
                    | Fault::HoldLine { node, .. } => assert!(*node < NODES),
                    Fault::CutLine { node, after } => {
                        assert!(*node < NODES && after.len() >= 3);
                    }
                    Fault::SlowLine { node, bytes, .. } => {
                        assert!(*node < NODES && *bytes > 0);
                    }
                    Fault::Storm { stays } => assert!(stays.len() >= 5),
                    Fault::Roll => {}
                }
            }
        }
    }

    #[test]
    fn two_owners_are_possible_only_where_somebody_is_not_told() {
        for round in take(2, 100) {
            let told =
                |fault: &Fault| matches!(fault.kind(), Kind::KillMember | Kind::Storm | Kind::Roll);
            let all_told = round.faults.iter().all(|(_, fault)| told(fault));
            assert_eq!(round.may_have_two_owners(), !all_told);
        }
    }
}
