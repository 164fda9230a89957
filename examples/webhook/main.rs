//! Webhooks over HTTP into a topic, and a handler that sees each event once.
//!
//! `receiver.rs` is what one writes. This file starts it beside the handler on a free port, is its sender for a while, and
//! prints what the sender sees and what is handled: `cargo run --example webhook`. It exits with 1 when an answer is not
//! as it must be. `-- --serve 127.0.0.1:8080` serves until a signal instead, for a sender of your own.

#![allow(clippy::print_stdout, reason = "a program speaks on standard output")]

mod receiver;
mod sender;

use std::process::ExitCode;

use dotmsg::app::AppHandle;
use dotmsg::{App, Json, Key, MessageId, State};
use sender::Sender;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

type Failure = Box<dyn std::error::Error>;

#[dotmsg::handler(topic = "events", group = "shop")]
async fn on_event(
    State(lines): State<UnboundedSender<String>>,
    Key(shop): Key<String>,
    id: MessageId,
    Json(event): Json<String>,
) {
    let _ = lines.send(format!("handled {shop} {id}: {event}"));
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let (lines, mut handled) = unbounded_channel();
    let app = App::memory()
        .configure(|config| config.set("routes.on_event.dedup.keep_for", "1h"))
        .state(lines)
        .handler(on_event);
    let running = app.start().await?;
    let app = running.handle().clone();
    let publisher = app.publisher("main").ok_or("no backend")?.clone();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, serve) = match &arguments[..] {
        [] => ("127.0.0.1:0", false),
        [option, address] if option == "--serve" => (address.as_str(), true),
        _ => return Err("usage: webhook [--serve ADDRESS]".into()),
    };
    let listener = TcpListener::bind(address).await?;
    let sender = Sender::to(listener.local_addr()?);
    let server = tokio::spawn(async { axum::serve(listener, receiver::router(publisher)).await });
    if serve {
        tokio::spawn(async move {
            while let Some(line) = handled.recv().await {
                println!("{line}");
            }
        });
        running.run().await?;
        return Ok(ExitCode::SUCCESS);
    }

    let mut good = true;
    for (id, expected) in [
        (Some("evt-1"), 202),
        (Some("evt-1"), 202), // the sender missed the answer and sends again
        (Some("evt-2"), 202),
        (None, 400),
    ] {
        good &= send(&sender, id, expected).await?;
        print_handled(&app, &mut handled).await;
    }
    app.drain();
    running.wait().await?; // the broker is closed: nothing can be confirmed any more
    good &= send(&sender, Some("evt-3"), 503).await?;
    server.abort();
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Sends one event and tells whether the answer was the expected one.
async fn send(sender: &Sender, id: Option<&str>, expected: u16) -> Result<bool, Failure> {
    let status = sender.post("/hooks/acme", id, "\"paid\"").await?;
    println!("POST /hooks/acme, id {}: {status}", id.unwrap_or("none"));
    Ok(status == expected)
}

/// Prints what the handler has done by the time that there is nothing left to do.
async fn print_handled(app: &AppHandle, handled: &mut UnboundedReceiver<String>) {
    app.idle().await;
    while let Ok(line) = handled.try_recv() {
        println!("  {line}");
    }
}
