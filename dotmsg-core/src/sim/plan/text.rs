//! A plan as text: one line per message and fault, to be read, edited and kept. `parse` reads it back.
//!
//! Lines are words; a value is `name=value`. Empty lines and what follows `#` are left out.

use std::fmt::{self, Write as _};

use super::{Fault, Kind, Last, Plan, Planned, Point, Setting, Step};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "setting {}", self.setting)?;
        for message in &self.messages {
            writeln!(f, "message {message}")?;
        }
        for fault in &self.faults {
            writeln!(f, "fault {fault}")?;
        }
        Ok(())
    }
}

fn list(delays: &[u64]) -> String {
    let delays: Vec<String> = delays.iter().map(u64::to_string).collect();
    delays.join(",")
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "members={} stagger={} partitions={} concurrency={} workers={} held={} tiers={} later_tiers={} record_bytes={} attempts={} keep={} commit={} crash_loop={} session={} assignor={} instances={} dedup={} prompt={}",
            self.members,
            self.stagger_ms,
            self.partitions,
            self.concurrency,
            self.workers,
            self.held,
            list(&self.tiers_ms),
            list(&self.later_tiers_ms),
            self.record_bytes,
            self.attempts,
            self.keep,
            self.commit_ms,
            self.crash_loop,
            self.session_ms,
            self.assignor.name(),
            self.instances,
            self.dedup,
            self.prompt
        )
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "id={} at={}", self.id, self.at_ms)?;
        if let Some(key) = self.key {
            write!(f, " key={key}")?;
        }
        write!(f, " takes={}", self.takes_ms)?;
        if self.lingers_ms > 0 {
            write!(f, " lingers={}", self.lingers_ms)?;
        }
        if self.fails > 0 {
            write!(f, " fails={}", self.fails)?;
        }
        match self.last {
            Last::Ok => Ok(()),
            Last::Dead => f.write_str(" last=dead"),
            Last::Discard => f.write_str(" last=discard"),
            Last::Panic => f.write_str(" last=panic"),
        }
    }
}

pub(super) const STEPS: [(Step, &str); 9] = [
    (Step::Call, "handler"),
    (Step::Tier, "tier"),
    (Step::DeadLetter, "dead-letter"),
    (Step::Commit, "commit"),
    (Step::WriteBack, "write-back"),
    (Step::ReadPosition, "position"),
    (Step::Heads, "heads"),
    (Step::Release, "release"),
    (Step::Close, "close"),
];

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.before { "before" } else { "after" };
        let name = STEPS.iter().find(|(step, _)| *step == self.step);
        write!(f, "{side}-{}", name.map_or("?", |(_, name)| name))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at={} member={} ", self.at_ms, self.member)?;
        match self.kind {
            Kind::Delay { by_ms, for_ms } => write!(f, "delay by={by_ms} for={for_ms}"),
            Kind::PublishUnheard => f.write_str("publish-unheard"),
            Kind::PublishUnsent => f.write_str("publish-unsent"),
            Kind::PublishFails => f.write_str("publish-fails"),
            Kind::CommitUnheard => f.write_str("commit-unheard"),
            Kind::CommitUnsent => f.write_str("commit-unsent"),
            Kind::CommitFails => f.write_str("commit-fails"),
            Kind::CommitPartly => f.write_str("commit-partly"),
            Kind::Duplicate => f.write_str("duplicate"),
            Kind::Reorder { by_ms } => write!(f, "reorder by={by_ms}"),
            Kind::Crash { point, down_ms } => write!(f, "crash point={point} down={down_ms}"),
            Kind::Kill { down_ms } => write!(f, "kill down={down_ms}"),
            Kind::Freeze { for_ms } => write!(f, "freeze for={for_ms}"),
            Kind::Stop { down_ms } => write!(f, "stop down={down_ms}"),
            Kind::Lose { partition, for_ms } => {
                write!(f, "lose partition={partition} for={for_ms}")
            }
            Kind::Revoke {
                partition,
                within_ms,
                for_ms,
            } => {
                write!(
                    f,
                    "revoke partition={partition} within={within_ms} for={for_ms}"
                )
            }
            Kind::SlowDisk { by_ms, for_ms } => write!(f, "slow-disk by={by_ms} for={for_ms}"),
            Kind::Outage { for_ms } => write!(f, "outage for={for_ms}"),
            Kind::Replay => f.write_str("replay"),
            Kind::Reset { partition, to } => write!(f, "reset partition={partition} to={to}"),
            Kind::Recreate => f.write_str("recreate"),
            Kind::Full { for_ms } => write!(f, "full for={for_ms}"),
        }
    }
}

impl Plan {
    /// The plan with a comment on its first line.
    #[must_use]
    pub fn with_comment(&self, comment: &str) -> String {
        let mut text = String::new();
        for line in comment.lines() {
            let _ = writeln!(text, "# {line}");
        }
        let _ = write!(text, "{self}");
        text
    }
}
