//! The mutants: each breaks one rule that the runtime keeps.
//!
//! An edit names a piece of the source that occurs exactly once, so that a mutant whose place has changed is an error and never
//! a mutant that does nothing.

/// One change to one file.
pub(super) struct Edit {
    pub(super) file: &'static str,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
}

/// One broken rule.
pub(super) struct Mutant {
    pub(super) name: &'static str,
    /// What the runtime does wrong now.
    pub(super) breaks: &'static str,
    pub(super) edits: &'static [Edit],
}

/// All mutants, in the order in which they run.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "commit-before-effect",
        breaks: "what was delivered counts as settled, whether its handler has ended or not",
        edits: &[Edit {
            file: "dotmsg-core/src/runtime/partition/mod.rs",
            from: "            source: self.source.map_after(source),",
            to: "            source: { drop(source); crate::progress::ResumeMap::at(self.source.map_after(None.into_iter()).end()) },",
        }],
    },
    Mutant {
        name: "no-epoch-check",
        breaks: "what an earlier ownership read or handled counts for the next one",
        edits: &[
            Edit {
                file: "dotmsg-core/src/runtime/pump/mod.rs",
                from: "    owned(partitions, number).filter(|partition| partition.ownership == ownership)",
                to: "    let _ = ownership;\n    owned(partitions, number)",
            },
            Edit {
                file: "dotmsg-core/src/runtime/pump/source.rs",
                from: "        if partition.grant != batch.grant {",
                to: "        if false {",
            },
        ],
    },
    Mutant {
        name: "dead-letter-after-settle",
        breaks: "a message is settled before its dead letter is confirmed",
        edits: &[Edit {
            file: "dotmsg-core/src/middleware/dead_letter/bury.rs",
            from: "        let sent = confirmed(&parts.publisher, record, &delivery).await;",
            to: "        {\n            let (parts, record, delivery) = (Arc::clone(&parts), record.clone(), delivery.clone());\n            tokio::spawn(async move {\n                tokio::time::sleep(Duration::from_millis(300)).await;\n                let _ = confirmed(&parts.publisher, record, &delivery).await;\n            });\n        }\n        if form == Form::Whole {\n            return Outcome::Settled(Ended::DeadLettered);\n        }\n        let sent = confirmed(&parts.publisher, record, &delivery).await;",
        }],
    },
    Mutant {
        name: "watermark-off-by-one",
        breaks: "the record calls the first unsettled message settled",
        edits: &[Edit {
            file: "dotmsg-core/src/progress/tracker.rs",
            from: "        ResumeMap::from_unsettled(self.watermark(), self.end, self.unsettled())",
            to: "        let watermark = (self.watermark() + 1).min(self.end);\n        ResumeMap::from_unsettled(watermark, self.end, self.unsettled().filter(move |offset| *offset >= watermark))",
        }],
    },
    Mutant {
        name: "away-lane-forgotten",
        breaks: "after a takeover nobody waits for a head that is away",
        edits: &[Edit {
            file: "dotmsg-core/src/runtime/pump/assignment.rs",
            from: "            self.workers.restore_away(partition, head.key, name);",
            to: "            let _ = (head.key, name);",
        }],
    },
    Mutant {
        name: "unnamed-tier-records-used",
        breaks: "a record of a tier is retried although nobody named it",
        edits: &[Edit {
            file: "dotmsg-core/src/runtime/tiers.rs",
            from: "            if let Some(name) = self.waiting.get(&record.offset) {",
            to: "            if !self.dispatched.contains_key(&record.offset) {\n                let origin = Origin::Source(record.offset);\n                let due = now;\n                self.waiting.entry(record.offset).or_insert(Waiting { origin, due });\n            }\n            if let Some(name) = self.waiting.get(&record.offset) {",
        }],
    },
    Mutant {
        name: "record-in-parts",
        breaks: "names are left out of the record until the partition is released",
        edits: &[Edit {
            file: "dotmsg-core/src/runtime/partition/mod.rs",
            from: "                .flat_map(|(tier, _)| tier.names())",
            to: "                .filter(|_| clean)\n                .flat_map(|(tier, _)| tier.names())",
        }],
    },
    Mutant {
        name: "map-of-another-log",
        breaks: "a position is applied to a topic that was created anew",
        edits: &[Edit {
            file: "dotmsg-core/src/runtime/takeover.rs",
            from: "        let other_log = record.is_of_other_log(&group.log);",
            to: "        let other_log = record.is_of_other_log(&group.log) && false;",
        }],
    },
    Mutant {
        name: "follower-overtakes",
        breaks: "a lane goes on while its head is away",
        edits: &[Edit {
            file: "dotmsg-core/src/runtime/worker/ending.rs",
            from: "            Outcome::Away(away) if keep && found.is_keyed() => {",
            to: "            Outcome::Away(away) if keep && found.is_keyed() && found.len == 0 => {",
        }],
    },
    Mutant {
        name: "revoke-before-drain",
        breaks: "a partition is given up while its handlers run",
        edits: &[Edit {
            file: "dotmsg-core/src/runtime/pump/assignment.rs",
            from: "        self.workers\n            .stop_partition(number, ownership, &mut self.reports);\n    }\n\n    /// Leaves what waits for a commit",
            to: "        self.workers\n            .stop_partition(number, ownership, &mut self.reports);\n        self.drained(number, ownership);\n    }\n\n    /// Leaves what waits for a commit",
        }],
    },
    Mutant {
        name: "lost-partition-committed",
        breaks: "a partition that is lost is committed once more",
        edits: &[Edit {
            file: "dotmsg-core/src/runtime/pump/assignment.rs",
            from: "                    for number in partitions {\n                        self.lose(number);\n                    }",
            to: "                    self.give_up(&partitions, Duration::ZERO);",
        }],
    },
    Mutant {
        name: "held-cap-ignored",
        breaks: "the source goes on at the cap of held messages",
        edits: &[Edit {
            file: "dotmsg-core/src/runtime/pump/source.rs",
            from: "        let messages = limits.max_held_messages.saturating_sub(self.held);",
            to: "        let messages = limits.max_held_messages;",
        }],
    },
    Mutant {
        name: "tiers-from-config-only",
        breaks: "heads in a tier that the configuration does not name any more are forgotten",
        edits: &[Edit {
            file: "dotmsg-core/src/runtime/pump/assignment.rs",
            from: "            let delay = Duration::from_millis(head.name.tier.0);\n",
            to: "            let delay = Duration::from_millis(head.name.tier.0);\n            if !self.route.retry.tiers.contains(&delay) {\n                continue;\n            }\n",
        }],
    },
    Mutant {
        name: "release-before-commit",
        breaks: "a partition is released before its last commit is answered",
        edits: &[Edit {
            file: "dotmsg-core/src/runtime/pump/outcomes.rs",
            from: "            partition.phase = Phase::Leaving(leave_by);\n            partition.dirty = true;",
            to: "            let _ = leave_by;\n            partition.phase = Phase::Left;\n            partition.dirty = true;",
        }],
    },
    Mutant {
        name: "dispatch-before-write-back",
        breaks: "an unknown commit counts as confirmed",
        edits: &[Edit {
            file: "dotmsg-core/src/backend/confirmed.rs",
            from: "                CommitOutcome::Committed => {}",
            to: "                CommitOutcome::Committed | CommitOutcome::Failed(_) | CommitOutcome::Unknown(_) => {}",
        }],
    },
    Mutant {
        name: "retry-early",
        breaks: "a head is tried again before its delay is over",
        edits: &[Edit {
            file: "dotmsg-core/src/runtime/tiers.rs",
            from: "    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Record> {",
            to: "    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Record> {\n        let now = now + std::time::Duration::from_millis(40);",
        }],
    },
];
