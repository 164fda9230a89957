//! The tutorial, `docs/quick-start.md`: the page has this file and what it prints.
//!
//! It reads `dotmsg.toml` in the directory where it runs, so it is run from the page: `cargo xtask sessions`.

#![allow(clippy::print_stdout, reason = "a program speaks on standard output")]

use dotmsg::{App, HandlerError, Json, Key, Message};

#[derive(serde::Deserialize)]
struct Order {
    item: String,
    count: u32,
}

#[dotmsg::handler(topic = "orders", group = "billing", retry(tiers = ["1s", "5s"]))]
async fn bill(Key(customer): Key<u64>, Json(order): Json<Order>) -> Result<(), HandlerError> {
    if order.count == 0 {
        return Err(HandlerError::permanent("nothing ordered").kind("empty"));
    }
    println!("customer {customer}: {} x {}", order.count, order.item);
    Ok(())
}

#[tokio::main]
async fn main() -> dotmsg::Result<()> {
    let running = App::from_config("dotmsg.toml")?
        .handler(bill)
        .start()
        .await?;
    let app = running.handle();
    let publisher = app
        .publisher("main")
        .expect("dotmsg.toml has [backend.main]");
    for (key, payload) in [
        ("7", r#"{"item":"chair","count":2}"#),
        ("7", r#"{"item":"table","count":0}"#),
        ("8", r#"{"item":"lamp","#),
    ] {
        publisher
            .publish("orders", Message::new(payload).with_key(key))
            .await?;
    }
    app.idle().await; // nothing is left to handle, of earlier runs neither

    let stats = &app.route("bill").expect("it was added above").stats;
    println!(
        "handled {}, dead {}",
        stats.handled(),
        stats.dead_lettered()
    );
    app.drain();
    running.wait().await?;
    Ok(())
}

#[tokio::test]
async fn an_empty_order_is_given_up() {
    let order = Order {
        item: "chair".into(),
        count: 0,
    };
    let error = bill(Key(7), Json(order)).await.unwrap_err();
    assert_eq!(error.kind_name(), "empty");
}
