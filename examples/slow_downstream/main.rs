//! Parcels are announced to a partner who is down for a while: no dead letters, and no flood when the partner is back.
//!
//! The ladder of the route is short on purpose: two attempts, 50 ms apart. The partner fails thirty calls, so that without
//! the circuit breaker in `dotmsg.toml` a dozen parcels would be dead letters. Take the three lines of the breaker out and
//! run it again: `cargo run --example slow_downstream` exits with 1 then, as it does when a limit is broken.

#![allow(clippy::print_stdout, reason = "a program speaks on standard output")]

mod partner;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dotmsg::{App, Attempt, Config, FromRef, Json, Message, State};
use partner::{Partner, PartnerError};
use tokio::time::timeout;

const PARCELS: u32 = 50;
/// Calls that the partner fails before being up again.
const DOWN_FOR: u32 = 30;

#[dotmsg::handler(topic = "parcels", group = "shipping")]
async fn deliver(
    State(partner): State<Arc<Partner>>,
    State(worst): State<Worst>,
    Attempt(attempt): Attempt,
    Json(parcel): Json<u32>,
) -> Result<(), PartnerError> {
    worst.0.fetch_max(attempt, Ordering::Relaxed);
    partner.announce(parcel).await
}

/// The highest attempt that was seen.
#[derive(Clone, Default)]
struct Worst(Arc<AtomicU32>);

#[derive(FromRef)]
struct Shipping {
    partner: Arc<Partner>,
    worst: Worst,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let partner = Arc::new(Partner::down_for(DOWN_FOR));
    let worst = Worst::default();
    let shipping = Shipping {
        partner: Arc::clone(&partner),
        worst: worst.clone(),
    };
    let config = Config::from_toml("dotmsg.toml", include_str!("dotmsg.toml"))?;
    let app = App::with_config(config).state(shipping).handler(deliver);
    let running = app.start().await?;
    let handle = running.handle().clone();
    let publisher = handle.publisher("main").ok_or("no backend")?;
    for parcel in 0..PARCELS {
        let message = Message::new(parcel.to_string()).with_key(parcel.to_string());
        publisher.publish("parcels", message).await?;
    }
    let stats = &handle.route("deliver").ok_or("no route")?.stats;
    let settled = async {
        while stats.handled() + stats.dead_lettered() < PARCELS.into() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), settled).await?;
    handle.drain();
    running.wait().await?;

    let calls = partner.calls();
    println!("parcels             {PARCELS:>4}");
    println!("announced           {:>4}", stats.handled());
    println!("dead letters        {:>4}", stats.dead_lettered());
    println!("calls in vain       {:>4}", calls.in_vain);
    println!("attempts at most    {:>4}", worst.0.load(Ordering::Relaxed));
    println!("calls at once       {:>4}", calls.at_once);
    let kept = |kept| if kept { "kept" } else { "broken" };
    let rate = calls.in_any_second <= 2 * 40;
    println!("the partner's rate  {:>4}", kept(rate));
    let good = stats.dead_lettered() == 0 && calls.at_once <= 4 && rate;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
