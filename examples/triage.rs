//! Dead letters, from the failure to the end of the story: what happened, what will help, a dry run, a replay.
//!
//! A service with a mistake in its price list gives orders up. Another program, while the service is stopped, looks at what
//! there is and hands back what a repaired service can handle; `App::open` gives it the topics and runs no handler. The log
//! is a directory, as it must be for two programs. `cargo run --example triage` exits with 1 when anything is left or lost.

#![allow(clippy::print_stdout, reason = "a program speaks on standard output")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use dotmsg::app::{AppHandle, RouteHandle};
use dotmsg::{App, Config, HandlerError, Json, Message, State};

type Failure = Box<dyn std::error::Error>;
/// Cents by item.
type Prices = Arc<BTreeMap<&'static str, u64>>;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(State(prices): State<Prices>, Json(item): Json<String>) -> Result<(), HandlerError> {
    let unknown = || HandlerError::permanent(format!("no price for {item}")).kind("no_price");
    let cents = prices.get(&*item).ok_or_else(unknown)?;
    println!("  billed {item}: {cents}");
    Ok(())
}

fn app(log: &Path, prices: &[(&'static str, u64)]) -> App<Prices> {
    let config = Config::new()
        .set("backend.main.url", format!("log:{}", log.display()))
        .set("backend.main.auto_create", true);
    let prices: Prices = Arc::new(prices.iter().copied().collect());
    App::with_config(config).state(prices).handler(bill)
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let log = std::env::temp_dir().join(format!("dotmsg-triage-{}", std::process::id()));
    let good = story(&log).await;
    std::fs::remove_dir_all(&log)?;
    Ok(if good? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn story(log: &Path) -> Result<bool, Failure> {
    println!("the service, without a price for lamps");
    let orders = [r#""chair""#, r#""lamp""#, "{", r#""lamp""#];
    serve(app(log, &[("chair", 4_500)]), &orders).await?;

    println!("the desk");
    let desk = app(log, &[]).open().await?;
    let route = bill_of(&desk)?;
    for (kind, count) in kinds(route).await? {
        println!("  {count} of kind {kind}");
    }
    let would = route.replay().kind("no_price").dry_run(true).run().await?;
    println!(
        "  dry run: {} would be replayed, {} left",
        would.replayed, would.filtered
    );
    let done = route
        .replay()
        .kind("no_price")
        .per_second(100)
        .run()
        .await?;
    println!("  {} replayed, {} left", done.replayed, done.filtered);
    let again = route.replay().kind("no_price").run().await?;
    println!(
        "  once more: {} replayed, {} already were",
        again.replayed, again.replayed_before
    );
    desk.close().await?;

    println!("the service, repaired");
    serve(app(log, &[("chair", 4_500), ("lamp", 2_900)]), &[]).await?;

    let desk = app(log, &[]).open().await?;
    let letters = kinds(bill_of(&desk)?).await?;
    desk.close().await?;
    // Dead letters stay where they are, replayed or not.
    let expected = [("decode".to_owned(), 1), ("no_price".to_owned(), 2)];
    Ok(done.replayed == 2 && again.replayed == 0 && letters == BTreeMap::from(expected))
}

/// Publishes the orders and handles whatever there is.
async fn serve(app: App<Prices>, orders: &[&'static str]) -> Result<(), Failure> {
    let running = app.start().await?;
    let publisher = running.handle().publisher("main").ok_or("no backend")?;
    for order in orders {
        // One key, so that the lines come in order.
        publisher
            .publish("orders", Message::new(*order).with_key("shop"))
            .await?;
    }
    running.handle().idle().await;
    let stats = &bill_of(running.handle())?.stats;
    println!(
        "  handled {}, dead {}",
        stats.handled(),
        stats.dead_lettered()
    );
    running.handle().drain();
    running.wait().await?;
    Ok(())
}

/// How many dead letters there are of each kind.
async fn kinds(route: &RouteHandle) -> Result<BTreeMap<String, u32>, Failure> {
    let mut kinds = BTreeMap::new();
    let mut letters = route.dead_letters().await?;
    while let Some(letter) = letters.next().await? {
        *kinds.entry(letter.kind).or_default() += 1;
    }
    Ok(kinds)
}

fn bill_of(app: &AppHandle) -> Result<&RouteHandle, Failure> {
    Ok(app.route("bill").ok_or("no route of the handler bill")?)
}
