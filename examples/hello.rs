//! The shortest program: a handler, and one message for it, on the log in memory.
//!
//! Run it with `cargo run --example hello`. A service differs in one line: `App::from_config("dotmsg.toml")?` says where
//! its messages come from, and `run` waits for them until a signal.

#![allow(clippy::print_stdout, reason = "a program speaks on standard output")]

use dotmsg::{App, Json};

#[dotmsg::handler(topic = "names", group = "hello")]
async fn hello(Json(name): Json<String>) {
    println!("hello, {name}");
}

#[tokio::main]
async fn main() -> dotmsg::Result<()> {
    App::memory().handler(hello).run_on("names", "world").await
}
