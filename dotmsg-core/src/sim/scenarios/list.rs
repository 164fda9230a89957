//! The scenarios themselves.

use super::{Own, Scenario, Step, Told, What, any, cut_between_heads, killed, owners, unheard};
use crate::testing::Became;

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "append-crash-due-before-redelivery",
        about: "A head is appended to a tier and its owner dies before any commit names it. The record in the tier is due \
                before the next owner has read the source: it is void, and the head runs once from the source.",
        plan: "seed 1
setting tiers=50 commit=2000
message id=0 at=100 key=1 takes=1 fails=1
message id=1 at=101 key=1 takes=1
fault at=90 crash point=after-tier down=2000",
        reaches: |history| killed(history, false, Step::Tier) && owners(history) >= 2,
    },
    Scenario {
        name: "unheard-append-then-crash",
        about: "The append to the tier is stored and its answer lost; it is repeated, so the tier holds two copies of one \
                attempt, and the owner dies. Whichever is named is the head, the other is void.",
        plan: "seed 2
setting tiers=50 commit=20
message id=0 at=100 key=1 takes=1 fails=1
message id=1 at=101 key=1 takes=1
fault at=90 publish-unheard
fault at=120 kill down=300",
        reaches: |history| unheard(history, Own::Tier(50)),
    },
    Scenario {
        name: "dead-letter-then-crash",
        about: "The dead letter is appended and its owner dies before it hears of it: the next one writes a second one of \
                the same origin, and settles.",
        plan: "seed 3
setting commit=20
message id=0 at=100 key=1 last=dead
message id=1 at=101 key=1
fault at=90 crash point=after-dead-letter down=200",
        reaches: |history| killed(history, false, Step::DeadLetter),
    },
    Scenario {
        name: "takeover-crash-before-position",
        about: "The new owner dies before it has read the position.",
        plan: TAKEOVER_BEFORE_POSITION,
        reaches: |history| killed(history, true, Step::ReadPosition) && owners(history) >= 2,
    },
    Scenario {
        name: "takeover-crash-before-write-back",
        about: "The new owner dies when it has read the position and not written it back.",
        plan: TAKEOVER_BEFORE_WRITE_BACK,
        reaches: |history| killed(history, true, Step::WriteBack) && owners(history) >= 2,
    },
    Scenario {
        name: "takeover-crash-after-write-back",
        about: "The new owner dies when its record is stored and it has not heard of it.",
        plan: TAKEOVER_AFTER_WRITE_BACK,
        reaches: |history| killed(history, false, Step::WriteBack) && owners(history) >= 3,
    },
    Scenario {
        name: "takeover-crash-at-heads",
        about: "The new owner dies between its write-back and reading the records that it names.",
        plan: TAKEOVER_HEADS,
        reaches: |history| killed(history, true, Step::Heads) && owners(history) >= 3,
    },
    Scenario {
        name: "done-then-away-uncommitted",
        about: "k0 is done and k1 away, neither committed, when the owner dies: the next one repeats both, k0 first.",
        plan: "seed 8
setting tiers=500 commit=2000
message id=0 at=100 key=1 takes=1
message id=1 at=101 key=1 takes=1 fails=1
message id=2 at=102 key=1 takes=1
fault at=90 crash point=after-tier down=200",
        reaches: |history| {
            killed(history, false, Step::Tier)
                && any(
                    history,
                    |what| matches!(what, What::Effect { place, .. } if place.offset == 0),
                )
        },
    },
    Scenario {
        name: "late-copy",
        about: "A copy of k0 that nobody was told of lies in the tier, before the one that is named; it comes into sight \
                when k0 has long ended and is committed.",
        plan: "seed 9
setting tiers=50,400 commit=20
message id=0 at=100 key=1 fails=2
message id=1 at=101 key=1
fault at=90 publish-unheard
fault at=200 kill down=100
fault at=700 kill down=100",
        reaches: |history| unheard(history, Own::Tier(50)) && owners(history) >= 2,
    },
    Scenario {
        name: "later-key-ends-first-in-a-tier",
        about: "k and l are away in one tier, k before l; l ends first, and a crash in between must still find k by its name.",
        plan: "seed 10
setting tiers=100 commit=20
message id=0 at=100 key=1 takes=300 fails=1
message id=1 at=101 key=2 takes=1 fails=1
message id=2 at=102 key=1
message id=3 at=103 key=2
fault at=660 kill down=100",
        reaches: |history| {
            any(
                history,
                |what| matches!(what, What::Commit { record, .. } if record.names.len() == 1),
            ) && owners(history) >= 2
        },
    },
    Scenario {
        name: "cap-of-one-takeover",
        about: "Hardly anything may be held, followers of an away head fill it, and the owner changes: the head must still \
                come back.",
        plan: "seed 11
setting tiers=200 commit=20 held=2 concurrency=1
message id=0 at=100 key=1 fails=1
message id=1 at=101 key=1
message id=2 at=102 key=1
message id=3 at=103 key=1
message id=4 at=104 key=2
fault at=150 kill down=20",
        reaches: |history| {
            any(history, |what| {
                matches!(what, What::Ended(_, Became::Away(_)))
            }) && owners(history) >= 2
        },
    },
    Scenario {
        name: "half-rejected-commit",
        about: "Of one commit of several partitions one entry is refused: the others are stored, and no partition's record \
                is stored in part.",
        plan: "seed 12
setting partitions=4 tiers=100 commit=20
message id=0 at=100 key=1 fails=1
message id=1 at=100 key=2 fails=1
message id=2 at=100 key=3
message id=3 at=100 key=4
message id=4 at=101 key=1
message id=5 at=101 key=2
fault at=95 commit-partly
fault at=96 commit-partly
fault at=140 kill down=50",
        reaches: |history| {
            any(history, |what| {
                matches!(
                    what,
                    What::Commit {
                        told: Told::Failed,
                        ..
                    }
                )
            }) && owners(history) >= 2
        },
    },
    Scenario {
        name: "unheard-commit-then-crash",
        about: "The commit that names an away head is stored, its answer lost, and its owner dies.",
        plan: "seed 13
setting tiers=300 commit=20
message id=0 at=100 key=1 fails=1
message id=1 at=101 key=1
fault at=90 commit-unheard
fault at=115 kill down=50",
        reaches: |history| {
            any(history, |what| {
                matches!(
                    what,
                    What::Commit {
                        told: Told::Unknown,
                        stored: true,
                        ..
                    }
                )
            }) && owners(history) >= 2
        },
    },
    Scenario {
        name: "lost-with-a-head-away",
        about: "A partition is lost while a head is away and a follower waits, and given back: its new ownership begins \
                with the record.",
        plan: "seed 14
setting tiers=300 commit=20
message id=0 at=100 key=1 fails=1
message id=1 at=101 key=1
fault at=200 lose partition=0 for=20
fault at=300 lose partition=0 for=400",
        reaches: |history| {
            any(history, |what| matches!(what, What::Lost(_))) && owners(history) >= 2
        },
    },
    Scenario {
        name: "revoked-while-a-repeat-sleeps",
        about: "A partition is asked back while its handlers run and others wait between two attempts: nobody of a key \
                starts behind one that is interrupted.",
        plan: "seed 15
setting attempts=2 commit=20 concurrency=4
message id=0 at=100 key=1 takes=5 fails=1
message id=1 at=101 key=1
message id=2 at=101 key=2 takes=80
message id=3 at=102 key=2
fault at=106 revoke partition=0 within=50 for=100",
        reaches: |history| any(history, |what| matches!(what, What::Released(..))),
    },
    Scenario {
        name: "cut-between-away-heads",
        about: "The record does not fit and is cut between two away heads: the name of the later one goes with the cut, and \
                its source counts as unsettled again.",
        plan: CUT,
        reaches: |history| owners(history) >= 2 && cut_between_heads(history),
    },
    Scenario {
        name: "reset-below-the-head",
        about: "While k0 is away the position is moved below it: its name goes, and it runs from the source, before k1.",
        plan: "seed 20
setting tiers=5000 commit=20
message id=0 at=90 key=2
message id=1 at=100 key=1 fails=1
message id=2 at=101 key=1
fault at=400 reset partition=0 to=0",
        reaches: |history| any(history, |what| matches!(what, What::Reset(0, 0))),
    },
    Scenario {
        name: "reset-at-the-head",
        about: "The position is moved to the away head itself: the same.",
        plan: "seed 21
setting tiers=5000 commit=20
message id=0 at=90 key=2
message id=1 at=100 key=1 fails=1
message id=2 at=101 key=1
fault at=400 reset partition=0 to=1",
        reaches: |history| any(history, |what| matches!(what, What::Reset(0, 1))),
    },
    Scenario {
        name: "reset-above-the-head",
        about: "The position is moved above the away head: it keeps its name and comes back from the tier, and its follower, \
                which is above the position, waits for it.",
        plan: "seed 22
setting tiers=5000 commit=20
message id=0 at=90 key=2
message id=1 at=100 key=1 fails=1
message id=2 at=101 key=1
fault at=400 reset partition=0 to=2",
        reaches: |history| {
            let reset = history
                .events
                .iter()
                .position(|event| matches!(event.what, What::Reset(0, 2)));
            let after = reset.map_or(&[][..], |at| &history.events[at..]);
            after
                .iter()
                .any(|event| matches!(event.what, What::Effect { place, .. } if place.offset == 1))
        },
    },
    Scenario {
        name: "replay-while-another-is-away",
        about: "k0 is dead and is replayed while k2 is away: the replayed one waits behind it, in no tier and in no order.",
        plan: "seed 23
setting tiers=2000 commit=20
message id=0 at=100 key=1 last=dead
message id=1 at=101 key=1
message id=2 at=102 key=1 fails=1
message id=3 at=103 key=1
fault at=600 replay
fault at=700 kill down=50",
        reaches: |history| {
            any(history, |what| {
                matches!(what, What::Called { replay: true, .. })
            })
        },
    },
    Scenario {
        name: "topic-made-anew",
        about: "The topic is deleted and made anew: what was settled of the one says nothing of the other.",
        plan: "seed 24
setting tiers=200 commit=20
message id=0 at=100 key=1
message id=1 at=101 key=1
message id=2 at=5000 key=1
message id=3 at=5001 key=1 fails=1
fault at=1000 recreate",
        reaches: |history| any(history, |what| matches!(what, What::Recreated)),
    },
    Scenario {
        name: "edited-ladder",
        about: "A head waits in a tier that the next configuration does not have: it is drained all the same.",
        plan: "seed 25
setting tiers=2000 later_tiers=100 commit=20
message id=0 at=100 key=1 fails=1
message id=1 at=101 key=1
fault at=500 stop down=50",
        reaches: |history| owners(history) >= 2,
    },
    Scenario {
        name: "frozen-appends-around-takeover",
        about: "A stands still past its session with a head about to go away; B takes over; A wakes up and appends to the \
                tier and to the dead letters; then C. What A appended is void, and k1 does not pass k0.",
        plan: "seed 16
setting members=3 tiers=500 commit=20 partitions=1
message id=0 at=1000 key=1 takes=100 fails=1
message id=1 at=1001 key=1 takes=30
message id=2 at=1002 key=2 takes=110 last=dead
fault at=1050 member=0 freeze for=60000
fault at=1050 member=1 freeze for=60000
fault at=70000 member=2 kill down=1000",
        reaches: |history| any(history, |what| matches!(what, What::Woke)) && owners(history) >= 2,
    },
    Scenario {
        name: "a-b-a",
        about: "A, then B, then A again own one partition: what the first A knew is not what the second A takes over.",
        plan: "seed 17
setting members=2 tiers=300 commit=20 partitions=1
message id=0 at=1000 key=1 takes=10 fails=1
message id=1 at=1001 key=1 takes=10
message id=2 at=40000 key=1 takes=10 fails=1
message id=3 at=40001 key=1 takes=10
fault at=1030 member=0 stop down=5000
fault at=40020 member=1 stop down=5000",
        reaches: |history| owners(history) >= 3,
    },
];

const CUT: &str = "seed 19
setting tiers=1000 commit=20 record_bytes=100
message id=0 at=95 key=9 takes=600
message id=1 at=100 key=1 fails=1
message id=2 at=110 key=2
message id=3 at=120 key=3 fails=1
message id=4 at=130 key=4
message id=5 at=140 key=5 fails=1
message id=6 at=150 key=1
message id=7 at=151 key=3
message id=8 at=152 key=5
fault at=400 kill down=50";

const TAKEOVER_BEFORE_POSITION: &str = "seed 4
setting tiers=400 commit=20
message id=0 at=100 key=1 fails=1
message id=1 at=101 key=1
fault at=200 kill down=50
fault at=201 crash point=before-position down=50";

const TAKEOVER_BEFORE_WRITE_BACK: &str = "seed 5
setting tiers=400 commit=20
message id=0 at=100 key=1 fails=1
message id=1 at=101 key=1
fault at=200 kill down=50
fault at=201 crash point=before-write-back down=50";

const TAKEOVER_AFTER_WRITE_BACK: &str = "seed 6
setting tiers=400 commit=20
message id=0 at=100 key=1 fails=1
message id=1 at=101 key=1
fault at=200 kill down=50
fault at=201 crash point=after-write-back down=50";

const TAKEOVER_HEADS: &str = "seed 7
setting tiers=400 commit=20
message id=0 at=100 key=1 fails=1
message id=1 at=101 key=1
fault at=200 kill down=50
fault at=201 crash point=before-heads down=50";
