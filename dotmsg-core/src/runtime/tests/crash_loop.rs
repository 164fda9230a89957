//! Crash loops: the message that ends its owners is found, and a row of crashes without one costs little.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::retries::kill;
use super::{HANDLED, Route, World};
use crate::delivery::Delivery;
use crate::handler::Returned;

/// How often owners die until the message of the key "poison" is a dead letter; each lives for so long after it has met it.
async fn deaths_until_it_is_set_aside(world: &World, lives_on_for: Duration) -> u32 {
    let met = Arc::new(AtomicBool::new(false));
    let mut deaths = 0;
    loop {
        met.store(false, Ordering::SeqCst);
        let route = start(world, &met);
        while !met.load(Ordering::SeqCst) && route.stats.dead_lettered() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        if route.stats.dead_lettered() == 1 {
            route.stats.idle().await;
            route.drain().await;
            return deaths;
        }
        deaths += 1;
        assert!(deaths < 40, "it is never set aside");
        sleep(lives_on_for).await;
        kill(world, route).await;
    }
}

fn start(world: &World, met: &Arc<AtomicBool>) -> Route {
    let flag = Arc::clone(met);
    world.start_stacked(World::spec(), move |delivery: Delivery| {
        let flag = Arc::clone(&flag);
        async move {
            if delivery.key().is_some_and(|key| key[..] == *b"poison") {
                flag.store(true, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }
            Ok(Returned::default())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_message_that_kills_its_owner_again_and_again_becomes_a_dead_letter() {
    let world = World::new(1).await;
    world.publish(["a", "poison", "b"].map(Some)).await;
    // Long enough for the settled neighbours to be committed.
    let deaths = deaths_until_it_is_set_aside(&world, Duration::from_secs(1)).await;
    assert_eq!(deaths, 5 + 3, "takeovers, then confirmations");
    assert!(world.records().await[&0].settled(3));
}

#[tokio::test(start_paused = true)]
async fn it_is_found_among_many_that_ran_beside_it() {
    let world = World::new(1).await;
    let keys: Vec<String> = (0..200).map(|n| format!("{n}")).collect();
    let all = keys.iter().enumerate().map(|(n, key)| match n {
        100 => Some("poison"),
        _ => Some(key.as_str()),
    });
    world.publish(all).await;
    // Nothing is committed but before a dispatch.
    let deaths = deaths_until_it_is_set_aside(&world, Duration::ZERO).await;
    // Met once among 64, of which the others were committed as they ended; then alone.
    assert_eq!(deaths, 5 + 1 + 3);
    assert!(world.records().await[&0].settled(200));
}

/// They were put out of their group, or killed from outside.
#[tokio::test(start_paused = true)]
async fn owners_that_died_of_no_message_soon_run_many_side_by_side() {
    let world = World::new(1).await;
    let keys: Vec<String> = (0..5_000).map(|n| format!("{n}")).collect();
    world
        .publish(keys.iter().map(|key| Some(key.as_str())))
        .await;
    for _ in 0..5 {
        let route = world.start(World::spec(), |_| std::future::pending());
        sleep(Duration::from_secs(1)).await;
        kill(&world, route).await;
    }
    world.seen();
    let route = world.start(World::spec(), |_| async { HANDLED });
    route.stats.idle().await;
    assert_eq!(world.seen().len(), 5_000);
    let commits = route.stats.commits.load(Ordering::SeqCst);
    assert!(commits < 200, "{commits} commits");
    route.drain().await;
}
