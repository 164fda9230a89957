//! I10 and I11: a stop ends in time and loses nothing; what runs and what is held stays within limits.

use std::collections::BTreeMap;

use super::{View, Violation};
use crate::sim::history::What;

/// A drain of 30 s, its last commit and 6 s more (docs of `Shutdown::Drain`), and what slow calls add to that.
const STOPPED_WITHIN_MS: u64 = 60_000;

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut running: BTreeMap<u32, u32> = BTreeMap::new();
    let mut stopping: BTreeMap<u32, u64> = BTreeMap::new();
    let concurrency = view.plan.setting.concurrency;
    for event in &view.history.events {
        match &event.what {
            What::Stopping => {
                stopping.insert(event.life, event.at_ms);
            }
            What::Killed(_) | What::Froze => {
                stopping.remove(&event.life);
            }
            What::Stopped(_) | What::Failed(..) => {
                if let Some(since) = stopping.remove(&event.life) {
                    in_time(view, event.life, since, event.at_ms, found);
                }
            }
            What::Called { .. } if event.route == view.route => {
                let running = running.entry(event.life).or_insert(0);
                *running += 1;
                if view.scripted && *running > concurrency {
                    found.push(view.violation(
                        "I11 bounds",
                        event.at_ms,
                        None,
                        format!("member {} runs {running} handlers, {concurrency} are allowed: look at the permits", event.member),
                    ));
                }
            }
            What::Left(_) if event.route == view.route => {
                let running = running.entry(event.life).or_insert(0);
                *running = running.saturating_sub(1);
            }
            What::Held(held) if event.route == view.route && view.scripted => {
                let most = u64::from(view.plan.setting.held.max(2));
                if *held > most {
                    found.push(view.violation(
                        "I11 bounds",
                        event.at_ms,
                        None,
                        format!("member {} holds {held} messages, {most} are allowed: look at what pauses the source", event.member),
                    ));
                }
            }
            _ => {}
        }
    }
    for (life, since) in stopping {
        in_time(view, life, since, view.history.over_at_ms, found);
    }
}

fn in_time(view: &View<'_>, life: u32, since: u64, until: u64, found: &mut Vec<Violation>) {
    if until - since > STOPPED_WITHIN_MS {
        found.push(view.violation(
            "I10 stop ends in time",
            until,
            None,
            format!("life {life} was told to stop at {since} ms and had not stopped {} ms later: look at the phases of its partitions", until - since),
        ));
    }
}
