//! From a seed to a plan.
//!
//! Each seed draws which kinds of fault it has at all, and draws from those only: a run with one kind twenty times finds
//! what a run with a little of everything never does (swarm testing, Groce et al. 2012).

use crate::log::Assignor;

use super::super::backend::is_publish_fault;
use super::super::run::PRODUCER;
use super::{Fault, Kind, Last, Plan, Planned, Point, Setting, Step};

/// How large a plan is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Messages. Default 200.
    pub messages: u32,
    /// Members. Default 3.
    pub members: u32,
    /// Faults. Default 10.
    pub faults: u32,
}

impl Default for Size {
    /// What the figures of seeds per second are about.
    fn default() -> Self {
        Self {
            messages: 200,
            members: 3,
            faults: 10,
        }
    }
}

/// How long messages are published and faults begin.
const SPAN_MS: u64 = 10_000;

const LADDERS: [&[u64]; 5] = [&[], &[50], &[1_000], &[200, 2_000], &[100, 1_000, 5_000]];

/// The default most of the time.
const ASSIGNORS: [Assignor; 6] = [
    Assignor::CooperativeSticky,
    Assignor::CooperativeSticky,
    Assignor::CooperativeSticky,
    Assignor::Sticky,
    Assignor::Range,
    Assignor::RoundRobin,
];

const STEPS: [Step; 9] = [
    Step::Call,
    Step::Tier,
    Step::DeadLetter,
    Step::Commit,
    Step::WriteBack,
    Step::ReadPosition,
    Step::Heads,
    Step::Release,
    Step::Close,
];

pub(super) fn draw(seed: u64, size: Size) -> Plan {
    let mut random = fastrand::Rng::with_seed(seed);
    let setting = setting(&mut random, size);
    let messages = messages(&mut random, size.messages);
    let kinds: u32 = random.u32(..) | 1 << random.u32(..KINDS);
    let mut faults = Vec::with_capacity(size.faults as usize);
    if random.u8(..12) == 0 && size.faults > 0 {
        faults.push(Fault {
            at_ms: random.u64(..SPAN_MS),
            member: 0,
            kind: operation(&mut random, setting.partitions),
        });
    }
    while faults.len() < size.faults as usize {
        let kind = random.u32(..KINDS);
        if kinds & 1 << kind == 0 {
            continue;
        }
        let (at_ms, member) = (random.u64(..SPAN_MS), random.u32(..size.members.max(1)));
        let kind = fault(&mut random, kind, setting.partitions);
        // Producers lose answers too: what they were not told may be there, or not.
        let of_producer = is_publish_fault(&kind) && random.u8(..4) == 0;
        faults.push(Fault {
            at_ms,
            member: if of_producer { PRODUCER } else { member },
            kind,
        });
    }
    if faults.iter().any(|fault| fault.kind == Kind::Recreate) {
        // The replay topic stays as it is, and what it holds of the topic before is handled once more.
        faults.retain(|fault| fault.kind != Kind::Replay);
    }
    faults.sort_by_key(|fault| fault.at_ms);
    Plan {
        seed,
        setting,
        messages,
        faults,
    }
}

fn setting(random: &mut fastrand::Rng, size: Size) -> Setting {
    let concurrency = 1 << random.u32(..6);
    let tiers_ms = LADDERS[random.usize(..LADDERS.len())].to_vec();
    Setting {
        members: size.members,
        stagger_ms: [0, 0, 300][random.usize(..3)],
        partitions: random.u32(1..8),
        concurrency,
        workers: if random.u8(..8) == 0 {
            2.min(concurrency)
        } else {
            1
        },
        held: if random.u8(..4) == 0 {
            concurrency.max(2) + random.u32(..40)
        } else {
            1_000
        },
        later_tiers_ms: if random.u8(..6) == 0 {
            edited(&tiers_ms)
        } else {
            Vec::new()
        },
        record_bytes: if random.u8(..6) == 0 {
            random.usize(120..250)
        } else {
            4_096
        },
        tiers_ms,
        attempts: random.u32(1..3),
        keep: random.u8(..8) > 0,
        commit_ms: [20, 200, 2_000][random.usize(..3)],
        crash_loop: if random.u8(..6) == 0 { 2 } else { 0 },
        session_ms: [1_000, 5_000][random.usize(..2)],
        assignor: ASSIGNORS[random.usize(..ASSIGNORS.len())],
        instances: random.u8(..3) == 0,
        dedup: random.bool(),
        prompt: random.u8(..4) == 0,
    }
}

/// Another ladder of as many tiers, none of them the same.
fn edited(tiers_ms: &[u64]) -> Vec<u64> {
    tiers_ms.iter().map(|delay| delay * 3 / 2).collect()
}

fn messages(random: &mut fastrand::Rng, count: u32) -> Vec<Planned> {
    let keys = 1 + random.u32(..24);
    let failing = [0, 8, 4][random.usize(..3)];
    let slow = [1, 10, 60][random.usize(..3)];
    // Spread evenly, or all at once every so often.
    let burst = [1, 1, 200, 2_000][random.usize(..4)];
    let at = |random: &mut fastrand::Rng| random.u64(..SPAN_MS) / burst * burst;
    let mut at: Vec<u64> = (0..count).map(|_| at(random)).collect();
    at.sort_unstable();
    let planned = |(id, at_ms)| {
        let fails = failing > 0 && random.u32(..failing) == 0;
        Planned {
            id,
            at_ms,
            key: (random.u8(..32) > 0).then(|| random.u32(..keys)),
            takes_ms: random.u64(..slow),
            lingers_ms: if random.u8(..8) == 0 {
                random.u64(..slow)
            } else {
                0
            },
            fails: if fails { random.u32(1..5) } else { 0 },
            last: match random.u32(..40) {
                0 | 1 => Last::Dead,
                2 => Last::Discard,
                3 => Last::Panic,
                _ => Last::Ok,
            },
        }
    };
    (0..).zip(at).map(planned).collect()
}

/// What an operator does while all members are stopped.
fn operation(random: &mut fastrand::Rng, partitions: u32) -> Kind {
    if random.bool() {
        return Kind::Recreate;
    }
    Kind::Reset {
        partition: random.u32(..partitions),
        to: random.u64(..60),
    }
}

const KINDS: u32 = 20;

fn fault(random: &mut fastrand::Rng, kind: u32, partitions: u32) -> Kind {
    let short = random.u64(1..50);
    let long = random.u64(50..4_000);
    let partition = random.u32(..partitions);
    match kind {
        0 => Kind::Delay {
            by_ms: short,
            for_ms: long,
        },
        1 => Kind::PublishUnheard,
        2 => Kind::PublishUnsent,
        3 => Kind::PublishFails,
        4 => Kind::CommitUnheard,
        5 => Kind::CommitUnsent,
        6 => Kind::CommitFails,
        7 => Kind::CommitPartly,
        8 => Kind::Duplicate,
        9 => Kind::Reorder { by_ms: short },
        // Twice: a point is hit only when the run gets there.
        10 | 11 => Kind::Crash {
            point: Point {
                before: random.bool(),
                step: STEPS[random.usize(..STEPS.len())],
            },
            down_ms: long,
        },
        12 => Kind::Kill { down_ms: long },
        13 => Kind::Freeze {
            for_ms: if random.bool() { long } else { 10_000 + long },
        },
        14 => Kind::Stop { down_ms: long },
        15 => Kind::Lose {
            partition,
            // At once: what was under way when it was lost comes while it is owned again.
            for_ms: if random.bool() { 0 } else { long },
        },
        16 => Kind::Revoke {
            partition,
            within_ms: short * 4,
            for_ms: long,
        },
        17 => Kind::SlowDisk {
            by_ms: short,
            for_ms: long,
        },
        18 => Kind::Replay,
        _ if random.bool() => Kind::Outage { for_ms: long },
        _ => Kind::Full { for_ms: long },
    }
}
