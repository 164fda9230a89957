//! A store whose position record is too small for all the names: the partition pauses and goes on by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::World;
use crate::backend::{Backend, Capability, Face, PositionStore};
use crate::delivery::Delivery;
use crate::handler::{HandlerError, Returned};
use crate::log::LogBroker;

/// A log that takes records of at most so many bytes.
#[derive(Debug)]
struct Tight(LogBroker, usize);

impl Face for Tight {
    fn broker(&self) -> &LogBroker {
        &self.0
    }

    fn capability(&self) -> Capability {
        let mut capability = self.0.capability();
        capability.position = PositionStore::Record { max_bytes: self.1 };
        capability
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_do_not_fit_pause_the_partition_until_some_heads_end() {
    let mut world = World::new(1).await;
    world.face = Some(Arc::new(Tight(world.broker.clone(), 120)));
    let keys: Vec<String> = (0..400).map(|n| n.to_string()).collect();
    world
        .publish(keys[..200].iter().map(|key| Some(&**key)))
        .await;
    let mut spec = World::spec();
    spec.retry.tiers = vec![Duration::from_secs(5)];
    spec.retry.in_place.attempts = 1;
    let route = world.start_stacked(spec, |delivery: Delivery| async move {
        // Every other one fails once, so that names do not fall into one run.
        if delivery.origin().offset.is_multiple_of(2) && delivery.attempt() == 1 {
            return Err(HandlerError::transient(std::io::Error::other("not yet")));
        }
        Ok(Returned::default())
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!((route.stats.away(), route.stats.paused()), (100, 1));
    assert_eq!(
        world.records().await[&0].watermark(),
        0,
        "nothing was written in parts"
    );
    world
        .publish(keys[200..].iter().map(|key| Some(&**key)))
        .await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!((route.stats.handled(), route.stats.paused()), (400, 0));
    assert!(world.records().await[&0].settled(400));
    route.drain().await;
}
