//! An app of one's own: a handler with a real bug is found, and the report says how to run it again.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotmsg_core::app::{App, NoAdapters};
use dotmsg_core::config::{Config, RouteDefaults};
use dotmsg_core::handler::{Json, MessageId, State};
use dotmsg_core::message::Message;
use dotmsg_core::sim::{Simulation, sim};

/// What outlives the members: an account, and who was booked.
#[derive(Debug, Default)]
struct Bank {
    balance: Mutex<u64>,
    booked: Mutex<BTreeSet<Vec<u8>>>,
}

type Account = Arc<Bank>;

/// Reads, awaits, writes back: a payment that is delivered again is booked again.
async fn pay(State(bank): State<Account>, Json(amount): Json<u64>) {
    let read = *bank.balance.lock().unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    *bank.balance.lock().unwrap() = read + amount;
}

/// The same in one step, once per message.
async fn pay_once(State(bank): State<Account>, id: MessageId, Json(amount): Json<u64>) {
    tokio::time::sleep(Duration::from_millis(5)).await;
    if bank.booked.lock().unwrap().insert(id.0.to_vec()) {
        *bank.balance.lock().unwrap() += amount;
    }
}

fn case(random: &mut fastrand::Rng, dedups: bool) -> Simulation<Account, NoAdapters> {
    let bank = Account::default();
    let amounts: Vec<u64> = (0..40).map(|_| random.u64(1..100)).collect();
    let payment = |amount: &u64| {
        let message = Message::new(amount.to_string()).with_key("account");
        ("payments", message)
    };
    let messages: Vec<_> = amounts.iter().map(payment).collect();
    let state = Arc::clone(&bank);
    let app = move || {
        let route = RouteDefaults::new("pay")
            .with("topic", "payments")
            .with("group", "bank");
        let app = App::<(), NoAdapters>::with_config(Config::new()).state(Arc::clone(&state));
        if dedups {
            app.route(route, pay_once)
        } else {
            app.route(route, pay)
        }
    };
    Simulation::new(app)
        .messages(messages)
        .check(move |history| {
            let paid: u64 = history.published().map(|index| amounts[index]).sum();
            let booked = *bank.balance.lock().unwrap();
            if booked == paid {
                Ok(())
            } else {
                Err(format!("{booked} booked of {paid} paid"))
            }
        })
}

#[test]
fn a_handler_that_books_twice_is_found() {
    let report = catch_unwind(AssertUnwindSafe(|| {
        sim(0..300, |random| case(random, false))
    }));
    let report = report.expect_err("nobody noticed");
    let report = report.downcast_ref::<String>().unwrap();
    assert!(report.contains("booked of"), "{report}");
    let test = "own::a_handler_that_books_twice_is_found";
    assert!(
        report.contains("DOTMSG_SIM_SEED=")
            && report.contains(&format!("cargo test -p dotmsg-core {test}")),
        "{report}"
    );
    assert!(
        report
            .lines()
            .filter(|line| line.starts_with("message "))
            .count()
            <= 2,
        "{report}"
    );
}

#[test]
fn one_that_dedups_is_fine() {
    sim(0..80, |random| case(random, true));
}

fn idle_app(concurrency: i64) -> App {
    let route = RouteDefaults::new("pay")
        .with("topic", "payments")
        .with("group", "bank")
        .with("concurrency", concurrency);
    App::<(), NoAdapters>::with_config(Config::new()).route(route, |_: Json<u64>| async {})
}

fn panics(simulate: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(simulate)).expect_err("it is refused");
    let text = panic.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap()).to_owned())
}

#[test]
fn a_case_that_tests_nothing_is_refused_and_says_why() {
    let message = |topic: &'static str| (topic, Message::new("1"));
    let refused = |app: fn() -> App, topic: Option<&'static str>, members: u32| {
        panics(|| {
            sim(0..3, move |_| {
                let simulation = Simulation::new(app).members(members);
                simulation.messages(topic.map(message))
            });
        })
    };
    for (said, text) in [
        ("no messages", refused(|| idle_app(1), None, 3)),
        ("no members", refused(|| idle_app(1), Some("payments"), 0)),
        ("another topic", refused(|| idle_app(1), Some("payment"), 3)),
        (
            "a wrong setting",
            refused(|| idle_app(0), Some("payments"), 3),
        ),
        (
            "no seeds",
            panics(|| sim(0..0, |_| Simulation::new(|| idle_app(1)))),
        ),
    ] {
        let part = match said {
            "no messages" => "nothing is published",
            "no members" => "nobody is simulated",
            "another topic" => "nobody reads the topic \"payment\": the app reads {\"payments\"}",
            "a wrong setting" => "routes.pay.concurrency",
            _ => "no seeds",
        };
        assert!(text.contains(part), "{said}: {text}");
    }
}
