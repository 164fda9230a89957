//! The walk down the ladder, to the dead letter, and back by a replay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dotmsg_core::delivery::Delivery;
use dotmsg_core::testing::{Became, TestApp, run};

use super::{app, bill, transient};

const TIERS: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(60),
    Duration::from_secs(300),
];

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "shows how little real time six virtual minutes take"
)]
#[allow(
    clippy::print_stdout,
    reason = "for a person who looks; nothing depends on it"
)]
fn five_seconds_a_minute_five_minutes_the_dead_letter_a_fix_a_replay_and_success() {
    let real = std::time::Instant::now();
    let virtual_time = run(walk());
    println!("{virtual_time:?} of virtual time took {:?}", real.elapsed());
}

async fn walk() -> Duration {
    let fixed = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&fixed);
    let handler = move |_: Delivery| {
        let fixed = switch.load(Ordering::Relaxed);
        async move {
            if fixed {
                Ok(())
            } else {
                Err(transient("no rate for EUR"))
            }
        }
    };
    let route = bill().with("retry.tiers", ["5s", "1m", "5m"]);
    let mut test = TestApp::start(app(route, handler)).await;
    let start = test.now();
    let published = test.publish("orders", &37).key("c-1").id("o-1").await;
    test.run_until_idle().await;

    let mut walked = Vec::new();
    for (index, tier) in TIERS.into_iter().enumerate() {
        walked.push(Became::Away(tier));
        test.assert_became("bill", "o-1", &walked);
        test.assert_calls("bill", index + 1);
        assert_eq!(test.route("bill").stats.away(), 1);
        // Not a moment before it is due.
        test.advance(tier - Duration::from_millis(1)).await;
        test.assert_calls("bill", index + 1);
        test.advance(Duration::from_millis(1)).await;
        test.assert_calls("bill", index + 2);
    }
    walked.push(Became::DeadLettered);
    test.assert_became("bill", "o-1", &walked);
    test.assert_settled("bill");

    let letters = test.assert_dead_letters("bill", &["handler"]);
    let letter = &letters[0];
    assert_eq!(letter.attempts(), 4);
    assert_eq!(letter.reason, "no rate for EUR");
    assert_eq!(letter.chain, ["no rate for EUR"]);
    assert_eq!(
        letter.origin().to_string(),
        format!("orders/{}/0", published.partition)
    );
    assert_eq!(letter.lineage.first_failure, Some(start));
    let ladder: Duration = TIERS.into_iter().sum();
    assert_eq!(letter.last_failure, Some(start.after(ladder)));
    assert_eq!(*letter.id(), *b"o-1");
    assert_eq!(letter.message.key.as_deref(), Some(&b"c-1"[..]));
    assert_eq!(letter.message.payload.as_deref(), Some(&b"37"[..]));

    fixed.store(true, Ordering::Relaxed);
    let report = test.replay("bill").await;
    assert_eq!(report.replayed, 1);
    walked.push(Became::Handled);
    test.assert_became("bill", "o-1", &walked);
    test.assert_calls("bill", 5);
    let took = test.now().since(start);
    assert_eq!(test.shutdown().await.routes[0].abandoned, 0);
    took
}
