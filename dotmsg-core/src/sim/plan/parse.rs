//! Reading a plan from its text. What does not parse is told with its line and what would.

use std::fmt;
use std::str::FromStr;

use super::text::STEPS;
use super::{Fault, Kind, Last, Plan, Planned, Point, Setting};
use crate::log::Assignor;

/// What is wrong with a plan's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the plan: {}", self.line, self.problem)
    }
}

impl std::error::Error for PlanError {}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (side, name) = text.split_once('-').unwrap_or_default();
        let step = STEPS.iter().find(|(_, known)| *known == name);
        match (side, step) {
            ("before", Some(&(step, _))) => Ok(Self { before: true, step }),
            ("after", Some(&(step, _))) => Ok(Self {
                before: false,
                step,
            }),
            _ => Err(format!(
                "`{text}` is no point; a point is before- or after- one of {}",
                STEPS.map(|(_, name)| name).join(", ")
            )),
        }
    }
}

/// The words of one line: bare ones, and those with a value.
struct Words<'a> {
    bare: Option<&'a str>,
    values: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Result<Self, String> {
        let mut words = Self {
            bare: None,
            values: Vec::new(),
        };
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(value) => words.values.push(value),
                None if words.bare.is_none() => words.bare = Some(word),
                None => return Err(format!("`{word}` is one word too many")),
            }
        }
        Ok(words)
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.values.iter().position(|(known, _)| *known == name)?;
        Some(self.values.swap_remove(at).1)
    }

    fn optional<T: FromStr>(&mut self, name: &str, default: T) -> Result<T, String> {
        match self.take(name) {
            Some(value) => value
                .parse()
                .map_err(|_| format!("`{name}={value}` does not parse")),
            None => Ok(default),
        }
    }

    fn value<T: FromStr>(&mut self, name: &str) -> Result<T, String> {
        let value = self
            .take(name)
            .ok_or_else(|| format!("`{name}=` is missing"))?;
        value
            .parse()
            .map_err(|_| format!("`{name}={value}` does not parse"))
    }

    fn finish(self) -> Result<(), String> {
        match (self.values.first(), self.bare) {
            (Some((name, _)), _) => Err(format!("`{name}=` is not known here")),
            (None, Some(word)) => Err(format!("`{word}` is not known here")),
            (None, None) => Ok(()),
        }
    }
}

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut plan = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            plan.line(line).map_err(|problem| PlanError {
                line: index + 1,
                problem,
            })?;
        }
        Ok(plan)
    }
}

impl Plan {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let (sort, rest) = line.split_once(' ').unwrap_or((line, ""));
        if sort == "seed" {
            self.seed = rest
                .trim()
                .parse()
                .map_err(|_| format!("`{rest}` is no seed"))?;
            return Ok(());
        }
        let mut words = Words::of(rest)?;
        match sort {
            "setting" => self.setting = setting(&mut words)?,
            "message" => self.messages.push(message(&mut words)?),
            "fault" => self.faults.push(fault(&mut words)?),
            _ => return Err(format!("`{sort}` is not seed, setting, message or fault")),
        }
        words.finish()
    }
}

fn delays(text: Option<&str>) -> Result<Vec<u64>, String> {
    let delays = text
        .unwrap_or_default()
        .split(',')
        .filter(|delay| !delay.is_empty());
    delays
        .map(|delay| {
            delay
                .parse()
                .map_err(|_| format!("`{delay}` is no delay in ms"))
        })
        .collect()
}

fn setting(words: &mut Words<'_>) -> Result<Setting, String> {
    let default = Setting::default();
    Ok(Setting {
        members: words.optional("members", default.members)?,
        stagger_ms: words.optional("stagger", default.stagger_ms)?,
        partitions: words.optional("partitions", default.partitions)?,
        concurrency: words.optional("concurrency", default.concurrency)?,
        workers: words.optional("workers", default.workers)?,
        held: words.optional("held", default.held)?,
        tiers_ms: delays(words.take("tiers"))?,
        later_tiers_ms: delays(words.take("later_tiers"))?,
        record_bytes: words.optional("record_bytes", default.record_bytes)?,
        attempts: words.optional("attempts", default.attempts)?,
        keep: words.optional("keep", default.keep)?,
        commit_ms: words.optional("commit", default.commit_ms)?,
        crash_loop: words.optional("crash_loop", default.crash_loop)?,
        session_ms: words.optional("session", default.session_ms)?,
        assignor: assignor(words.take("assignor"))?,
        instances: words.optional("instances", default.instances)?,
        dedup: words.optional("dedup", default.dedup)?,
        prompt: words.optional("prompt", default.prompt)?,
    })
}

const ASSIGNORS: [Assignor; 4] = [
    Assignor::CooperativeSticky,
    Assignor::Sticky,
    Assignor::Range,
    Assignor::RoundRobin,
];

fn assignor(name: Option<&str>) -> Result<Assignor, String> {
    let Some(name) = name else {
        return Ok(Assignor::default());
    };
    let mut known = ASSIGNORS.into_iter();
    known
        .find(|assignor| assignor.name() == name)
        .ok_or_else(|| {
            format!(
                "`assignor={name}` is not one of {}",
                ASSIGNORS.map(Assignor::name).join(", ")
            )
        })
}

fn message(words: &mut Words<'_>) -> Result<Planned, String> {
    let key = match words.take("key") {
        Some(key) => Some(
            key.parse()
                .map_err(|_| format!("`key={key}` is no number"))?,
        ),
        None => None,
    };
    Ok(Planned {
        id: words.value("id")?,
        at_ms: words.value("at")?,
        key,
        takes_ms: words.optional("takes", 0)?,
        lingers_ms: words.optional("lingers", 0)?,
        fails: words.optional("fails", 0)?,
        last: match words.take("last").unwrap_or("ok") {
            "ok" => Last::Ok,
            "dead" => Last::Dead,
            "discard" => Last::Discard,
            "panic" => Last::Panic,
            other => return Err(format!("`last={other}` is not ok, dead, discard or panic")),
        },
    })
}

fn fault(words: &mut Words<'_>) -> Result<Fault, String> {
    let (at_ms, member) = (words.value("at")?, words.optional("member", 0)?);
    let kind = match words.bare.take().unwrap_or_default() {
        "delay" => Kind::Delay {
            by_ms: words.value("by")?,
            for_ms: words.value("for")?,
        },
        "publish-unheard" => Kind::PublishUnheard,
        "publish-unsent" => Kind::PublishUnsent,
        "publish-fails" => Kind::PublishFails,
        "commit-unheard" => Kind::CommitUnheard,
        "commit-unsent" => Kind::CommitUnsent,
        "commit-fails" => Kind::CommitFails,
        "commit-partly" => Kind::CommitPartly,
        "duplicate" => Kind::Duplicate,
        "reorder" => Kind::Reorder {
            by_ms: words.value("by")?,
        },
        "crash" => Kind::Crash {
            point: words.take("point").unwrap_or_default().parse()?,
            down_ms: words.value("down")?,
        },
        "kill" => Kind::Kill {
            down_ms: words.value("down")?,
        },
        "freeze" => Kind::Freeze {
            for_ms: words.value("for")?,
        },
        "stop" => Kind::Stop {
            down_ms: words.value("down")?,
        },
        "lose" => Kind::Lose {
            partition: words.value("partition")?,
            for_ms: words.value("for")?,
        },
        "revoke" => Kind::Revoke {
            partition: words.value("partition")?,
            within_ms: words.value("within")?,
            for_ms: words.value("for")?,
        },
        "slow-disk" => Kind::SlowDisk {
            by_ms: words.value("by")?,
            for_ms: words.value("for")?,
        },
        "outage" => Kind::Outage {
            for_ms: words.value("for")?,
        },
        "replay" => Kind::Replay,
        "reset" => Kind::Reset {
            partition: words.value("partition")?,
            to: words.value("to")?,
        },
        "recreate" => Kind::Recreate,
        "full" => Kind::Full {
            for_ms: words.value("for")?,
        },
        other => return Err(format!("`{other}` is no fault")),
    };
    Ok(Fault {
        at_ms,
        member,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::plan::Size;

    #[test]
    fn a_plan_that_is_printed_and_parsed_is_the_same() {
        for seed in 0..200 {
            let plan = Plan::draw(seed, Size::default());
            assert_eq!(plan.to_string().parse::<Plan>(), Ok(plan), "seed {seed}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let wrong = |text: &str| text.parse::<Plan>().unwrap_err().to_string();
        assert_eq!(
            wrong("seed 1\n\nfault at=3 fire"),
            "line 3 of the plan: `fire` is no fault"
        );
        assert_eq!(
            wrong("message id=1"),
            "line 1 of the plan: `at=` is missing"
        );
        assert_eq!(
            wrong("setting colour=red"),
            "line 1 of the plan: `colour=` is not known here"
        );
        assert!(wrong("fault at=1 crash point=before-lunch down=1").contains("before-lunch"));
    }
}
