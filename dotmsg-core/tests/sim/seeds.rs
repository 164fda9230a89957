//! Some seeds and all named scenarios; `cargo xtask sim` runs many more.

use dotmsg_core::sim::campaign::{Campaign, shrink_failing};
use dotmsg_core::sim::scenarios::SCENARIOS;
use dotmsg_core::sim::{Canary, Kind, Plan, Size, run_scripted};

fn campaign(seeds: std::ops::Range<u64>) -> Campaign {
    Campaign {
        seeds,
        size: Size::default(),
        threads: 1,
        canary: None,
    }
}

#[test]
fn no_promise_is_broken() {
    let outcome = campaign(0..60).run();
    if let Some(failing) = outcome.failing {
        panic!("seed {}: {}", failing.seed, failing.violations[0]);
    }
    assert_eq!(outcome.runs, 60);
}

/// What never happens in so many seeds is not tested by them.
#[test]
fn the_faults_do_happen() {
    let coverage = campaign(0..150).run().coverage;
    for what in [
        "append told Failed, was not stored",
        "append told Unknown, was not stored",
        "append told Unknown, was stored",
        "batch delivered twice",
        "broker down",
        "came to DeadLettered",
        "came to Discarded",
        "came to Handled",
        "commit told Failed, was not stored",
        "commit told Unknown, was not stored",
        "commit told Unknown, was stored",
        "killed",
        "killed after-commit",
        "killed after-dead-letter",
        "killed after-tier",
        "killed after-write-back",
        "killed before-commit",
        "killed before-handler",
        "killed before-tier",
        "partition asked back",
        "partition lost",
        "partition released",
        "stands still",
        "stopped",
        "went away",
    ] {
        assert!(
            coverage.contains_key(what),
            "never: {what}\nof {coverage:#?}"
        );
    }
}

#[test]
fn named_scenarios_get_where_they_should_and_break_nothing() {
    for scenario in SCENARIOS {
        let played = scenario.play();
        let text = || played.history.text(None);
        assert!(
            played.violations.is_empty(),
            "{}: {:?}\n{}",
            scenario.name,
            played.violations,
            text()
        );
        assert!(
            played.reached,
            "{} does not get to what it is about\n{}",
            scenario.name,
            text()
        );
    }
}

#[test]
fn a_commit_before_the_effect_is_found_at_once_and_made_small() {
    let canary = Some(Canary::CommitFirst);
    let outcome = Campaign {
        canary,
        ..campaign(0..20)
    }
    .run();
    let failing = outcome.failing.expect("nobody noticed");
    assert!(failing.seed < 5, "only seed {} found it", failing.seed);
    let plan = Plan::draw(failing.seed, Size::default());
    let small = shrink_failing(&plan, &failing.violations[0], canary);
    assert!(
        small.messages.len() <= 3 && small.faults.len() <= 1,
        "{small}"
    );
}

/// The same without looking into what is committed: a crash shows it as a loss.
#[test]
fn a_commit_before_the_effect_loses_messages_at_a_crash() {
    let lost = (0..40).find(|seed| {
        let mut plan = Plan::draw(*seed, Size::default());
        for fault in &mut plan.faults {
            (fault.member, fault.kind) = (0, Kind::Kill { down_ms: 100 });
        }
        let (_, violations) = run_scripted(plan, Some(Canary::CommitFirst));
        violations.iter().any(|one| one.invariant == "I1 no loss")
    });
    assert!(lost.is_some(), "nothing was lost in 40 seeds");
}
