//! Three handlers in a row: orders are priced, priced orders are invoiced, invoices are booked.
//!
//! Each step returns the message for the next one, which is published and confirmed before the step is settled. The price of
//! a lamp is not known at the first try: that order waits in a retry tier, the customer's next order waits behind it, and
//! everybody else goes on. `cargo run --example pipeline` exits with 1 unless every customer's invoices are in order.

#![allow(clippy::print_stdout, reason = "a program speaks on standard output")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dotmsg::{App, FromRef, HandlerError, Json, Key, Message, MessageId, Outgoing, State};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

#[derive(Serialize, Deserialize)]
struct Order {
    item: String,
    count: u64,
}

#[derive(Serialize, Deserialize)]
struct Priced {
    order: Order,
    cents: u64,
}

#[dotmsg::handler(topic = "orders", group = "pricing", retry(tiers = ["50ms"]))]
async fn price(
    State(prices): State<Arc<Prices>>,
    Key(customer): Key<String>,
    Json(order): Json<Order>,
) -> Result<Outgoing, HandlerError> {
    let cents = prices.of(&order.item)? * order.count;
    Ok(Outgoing::json("priced", &Priced { order, cents })?.key(customer))
}

#[dotmsg::handler(topic = "priced", group = "invoicing")]
async fn invoice(
    Key(customer): Key<String>,
    Json(priced): Json<Priced>,
) -> Result<Outgoing, HandlerError> {
    let Priced { order, cents } = priced;
    let line = format!("{} x {:<6} {cents:>6} cents", order.count, order.item);
    Ok(Outgoing::json("invoiced", &line)?.key(customer))
}

#[dotmsg::handler(topic = "invoiced", group = "books")]
async fn book(
    State(books): State<UnboundedSender<Booked>>,
    Key(customer): Key<String>,
    MessageId(id): MessageId,
    Json(line): Json<String>,
) {
    let id = String::from_utf8_lossy(&id).into_owned();
    let _ = books.send(Booked { customer, id, line });
}

/// Prices in cents. The first question about lamps fails, as one over a network may.
#[derive(Default)]
struct Prices {
    asked: AtomicBool,
}

impl Prices {
    fn of(&self, item: &str) -> Result<u64, HandlerError> {
        match item {
            "chair" => Ok(4_500),
            "table" => Ok(19_900),
            "lamp" if self.asked.swap(true, Ordering::Relaxed) => Ok(2_900),
            "lamp" => Err(HandlerError::transient("the price list did not answer")),
            _ => Err(HandlerError::permanent("not for sale").kind("item")),
        }
    }
}

struct Booked {
    customer: String,
    id: String,
    line: String,
}

#[derive(FromRef)]
struct Shop {
    prices: Arc<Prices>,
    books: UnboundedSender<Booked>,
}

/// Customer, item, count; in the order in which they are placed.
const ORDERS: [(&str, &str, u64); 6] = [
    ("ann", "lamp", 2),
    ("bob", "chair", 4),
    ("ann", "chair", 1),
    ("cat", "table", 1),
    ("ann", "table", 1),
    ("bob", "lamp", 1),
];

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (books, booked) = unbounded_channel();
    let shop = Shop {
        prices: Arc::default(),
        books,
    };
    let app = App::memory().state(shop);
    let app = app.handler(price).handler(invoice).handler(book);
    let running = app.start().await?;
    let publisher = running.handle().publisher("main").ok_or("no backend")?;
    for (number, (customer, item, count)) in (1..).zip(ORDERS) {
        let order = Order {
            item: item.to_owned(),
            count,
        };
        let order = Message::new(serde_json::to_vec(&order)?)
            .with_key(customer)
            .with_id(format!("order-{number}"));
        publisher.publish("orders", order).await?;
    }
    let by_customer = timeout(Duration::from_secs(30), all(booked)).await?;
    running.handle().drain();
    running.wait().await?;
    Ok(print(&by_customer))
}

/// The invoices of each customer, in the order in which they were booked.
async fn all(mut booked: UnboundedReceiver<Booked>) -> BTreeMap<String, Vec<Booked>> {
    let mut by_customer: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for _ in ORDERS {
        let Some(one) = booked.recv().await else {
            break;
        };
        by_customer
            .entry(one.customer.clone())
            .or_default()
            .push(one);
    }
    by_customer
}

fn print(by_customer: &BTreeMap<String, Vec<Booked>>) -> ExitCode {
    let mut in_order = true;
    for (customer, invoices) in by_customer {
        println!("{customer}");
        for Booked { id, line, .. } in invoices {
            println!("  {line}   {id}");
        }
        // The ids begin with the number of the order.
        in_order &= invoices.is_sorted_by_key(|booked| &booked.id);
    }
    match in_order {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
