//! Health as JSON.

use dotmsg_core::app::{Health, RouteHealth};
use dotmsg_core::clock::{Clock, SystemClock, Timestamp};
use dotmsg_core::runtime::StuckCall;
use serde_json::{Value, json};

/// What both paths of health answer.
pub(crate) fn json_of(health: &Health) -> Value {
    let now = SystemClock.now();
    let routes: Vec<Value> = health.routes.iter().map(|one| route(one, now)).collect();
    json!({
        "live": health.is_live(),
        "ready": health.is_ready(),
        "routes": routes,
    })
}

fn route(route: &RouteHealth, now: Timestamp) -> Value {
    let stuck: Vec<Value> = route.stuck.iter().map(|call| stuck(call, now)).collect();
    json!({
        "route": route.route,
        "state": route.state.as_str(),
        "answers": route.answers,
        "circuit_open": route.circuit_open,
        "paused_partitions": route.paused,
        "stuck_calls": stuck,
        "lag": route.diagnosis.to_string(),
    })
}

fn stuck(call: &StuckCall, now: Timestamp) -> Value {
    json!({
        "topic": &*call.topic,
        "partition": call.partition,
        "offset": call.offset,
        // As text: it has 64 bits, of which numbers in JSON keep 53.
        "key_hash": call.key_hash.map(|hash| format!("{hash:016x}")),
        "age_seconds": now.since(call.since).as_secs(),
    })
}
