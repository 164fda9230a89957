//! Makes a failing plan smaller: fault by fault, then message by message, then setting by setting, for as long as it still
//! breaks the same promise.
//!
//! Large parts are tried first, halves of halves down to single entries (Zeller's ddmin, without complements: what can be
//! taken out is taken out). The number of runs is bounded; a plan that is not yet smallest is still a failing one.

use super::plan::Plan;

/// Runs that are tried at most.
const RUNS_MAX: u32 = 600;

/// The smallest plan that was found for which `fails` holds.
pub fn shrink(plan: &Plan, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut runs = 0;
    let mut fails = |plan: &Plan| {
        runs += 1;
        runs <= RUNS_MAX && fails(plan)
    };
    let mut best = plan.clone();
    loop {
        let before = best.clone();
        let faults = best.faults.clone();
        best.faults = fewer(faults, |faults| {
            let faults = faults.to_vec();
            fails(&Plan {
                faults,
                ..best.clone()
            })
        });
        let messages = best.messages.clone();
        best.messages = fewer(messages, |messages| {
            let messages = messages.to_vec();
            fails(&Plan {
                messages,
                ..best.clone()
            })
        });
        for simpler in simpler(&best) {
            if fails(&simpler) {
                best = simpler;
            }
        }
        if best == before {
            return best;
        }
    }
}

/// Fewer of these, for which `fails` still holds.
fn fewer<T: Clone>(mut all: Vec<T>, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut size = all.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        while start < all.len() {
            let mut without = all.clone();
            without.drain(start..(start + size).min(all.len()));
            if fails(&without) {
                all = without;
            } else {
                start += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    all
}

/// The plan with one thing less of its own.
fn simpler(plan: &Plan) -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut with = |change: &dyn Fn(&mut Plan)| {
        let mut simpler = plan.clone();
        change(&mut simpler);
        if simpler != *plan {
            plans.push(simpler);
        }
    };
    with(&|plan| plan.setting.members = plan.setting.members.saturating_sub(1).max(1));
    with(&|plan| plan.setting.workers = 1);
    with(&|plan| plan.setting.crash_loop = 0);
    with(&|plan| plan.setting.held = plan.setting.held.max(1_000));
    with(&|plan| plan.setting.dedup = false);
    with(&|plan| {
        plan.setting.tiers_ms.pop();
    });
    with(&|plan| plan.messages.iter_mut().for_each(|one| one.lingers_ms = 0));
    with(&|plan| plan.messages.iter_mut().for_each(|one| one.fails = 0));
    plans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::plan::Size;

    #[test]
    fn what_has_nothing_to_do_with_the_failure_is_taken_out() {
        let plan = Plan::draw(7, Size::default());
        let (fault, message) = (plan.faults[3], plan.messages[77]);
        let mut runs = 0;
        let small = shrink(&plan, |plan| {
            runs += 1;
            plan.faults.contains(&fault) && plan.messages.iter().any(|one| one.id == message.id)
        });
        assert_eq!(small.faults, [fault]);
        assert_eq!(small.messages.len(), 1);
        assert_eq!(small.messages[0].id, message.id);
        assert!(runs < 200, "{runs} runs");
    }
}
