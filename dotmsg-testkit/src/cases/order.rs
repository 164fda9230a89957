//! Order: of a key, of a partition, after failures; and what has none runs side by side.

use tokio::time::sleep;

use crate::calls::{Calls, assert_key_order};
use crate::feed::{in_turns, publish_all};
use crate::service::{Service, WORK, noting, route};
use crate::trial::Trial;

/// Messages of one key are handled one at a time and in log order, while keys run side by side.
pub(crate) async fn of_a_key(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    publish_all(&*backend, in_turns(&topic, &keys, 25)).await;
    let calls = Calls::new();
    let handler = noting(&calls, 0, |_| async {
        sleep(WORK).await;
        Ok(())
    });
    let service = Service::start(backend, route(&topic, &trial.name()), handler).await;
    calls.until_succeeded(200).await;
    service.settled().await;
    service.drain().await;
    let calls = calls.all();
    assert_eq!(calls.len(), 200, "nothing runs twice without a cause");
    assert_key_order(&calls);
    let overlaps = calls.windows(2).any(|pair| {
        pair[0].key != pair[1].key && pair[0].ended.is_none_or(|(ended, _)| ended > pair[1].began)
    });
    assert!(overlaps, "no two keys ran side by side");
}
