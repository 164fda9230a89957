//! A service that has the commands of `dotmsg` over its own app: `billing work`, `billing admin dlq list`.
//!
//! Its rates come from a file in the current directory, so that what fails can be mended while one looks on.

use std::collections::BTreeMap;
use std::ffi::OsString;

use dotmsg::handler::{HandlerError, Json, State};
use dotmsg::{App, Config};
use dotmsg_cli::{Console, Exit};

type Rates = BTreeMap<String, f64>;

#[derive(serde::Deserialize)]
struct Order {
    currency: String,
    amount: f64,
}

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(State(rates): State<Rates>, Json(order): Json<Order>) -> Result<(), HandlerError> {
    if order.amount < 0.0 {
        return Err(HandlerError::permanent("the amount is negative").kind("amount"));
    }
    let Some(rate) = rates.get(&order.currency) else {
        let missing = format!("no rate for \"{}\"", order.currency);
        return Err(HandlerError::permanent(missing).kind("no_rate"));
    };
    tracing::info!(amount = order.amount * rate, "billed");
    Ok(())
}

fn app() -> Result<App<Rates>, Box<dyn std::error::Error>> {
    let config = Config::from_file("dotmsg.toml")?.env_os(std::env::vars_os());
    let rates: Rates = serde_json::from_slice(&std::fs::read("rates.json")?)?;
    Ok(App::with_config(config).state(rates).handler(bill))
}

/// `work` runs until nothing is left to do, `admin …` is a command of `dotmsg`, and without an argument it runs for good.
pub(crate) async fn billing(
    mut args: impl Iterator<Item = OsString>,
    console: &mut Console,
) -> Result<Exit, Box<dyn std::error::Error>> {
    match args.next().as_ref().and_then(|word| word.to_str()) {
        Some("admin") => {
            let args = [OsString::from("billing admin")].into_iter().chain(args);
            Ok(dotmsg_cli::run_in(app()?, args, console).await)
        }
        Some("work") => {
            let running = app()?.start().await?;
            running.handle().idle().await;
            running.handle().drain();
            running.wait().await?;
            Ok(Exit::Done)
        }
        _ => {
            app()?.run().await?;
            Ok(Exit::Done)
        }
    }
}

#[tokio::main]
#[cfg_attr(test, expect(dead_code, reason = "a test includes this file"))]
async fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    let args = std::env::args_os().skip(1);
    Ok(billing(args, &mut Console::process()).await?.into())
}
