//! Handlers in a crate that denies every lint, has no prelude, and types with the names of the prelude's.

#![deny(
    warnings,
    clippy::pedantic,
    clippy::nursery,
    elided_lifetimes_in_paths,
    let_underscore_drop,
    missing_debug_implementations,
    missing_docs,
    single_use_lifetimes,
    trivial_casts,
    unreachable_pub,
    unused_lifetimes,
    unused_qualifications,
    unused_results
)]
#![allow(unused_extern_crates, reason = "without a prelude they are not")]
#![no_implicit_prelude]

extern crate dotmsg;
extern crate std;

use std::vec::Vec;

/// Of a name that generated code may think of.
#[derive(std::fmt::Debug, std::clone::Clone, std::marker::Copy)]
pub struct Result;
/// Of a name that generated code may think of.
#[derive(std::fmt::Debug, std::clone::Clone, std::marker::Copy)]
pub struct Option;
/// Of a name that generated code may think of.
#[derive(std::fmt::Debug, std::clone::Clone, std::marker::Copy)]
pub struct Ok;
/// Of a name that generated code may think of.
#[derive(std::fmt::Debug, std::clone::Clone, std::marker::Copy)]
pub struct Err;
/// Of a name that generated code may think of.
#[derive(std::fmt::Debug, std::clone::Clone, std::marker::Copy)]
pub struct Box;
/// Of a name that generated code may think of.
#[derive(std::fmt::Debug, std::clone::Clone, std::marker::Copy)]
pub struct State;
/// Of a name that generated code may think of.
#[derive(std::fmt::Debug, std::clone::Clone, std::marker::Copy)]
pub struct Send;
/// Of a name that generated code may think of.
#[derive(std::fmt::Debug, std::clone::Clone, std::marker::Copy)]
pub struct Future;
/// Of a name that generated code may think of.
pub mod core {}

type R = std::result::Result<(), dotmsg::HandlerError>;

/// A payload.
#[dotmsg::handler(topic = "t")]
pub async fn plain(dotmsg::handler::Json(v): dotmsg::handler::Json<Vec<u8>>) -> R {
    let _unused: usize = v.len();
    std::result::Result::Ok(())
}

/// A raw name, and numbers with a suffix.
#[dotmsg::handler(topic = "t", concurrency = 5usize, timeout = "1s", retry(tiers = ["5s"]))]
pub async fn r#type(d: &dotmsg::Delivery) -> R {
    let _unused: std::option::Option<u32> = std::option::Option::Some(d.attempt());
    std::result::Result::Ok(())
}

/// A lifetime and a condition of its own.
#[dotmsg::handler(topic = "t")]
pub async fn life<'a>(d: &'a dotmsg::Delivery) -> R
where
    'a: 'a,
{
    let _unused: std::option::Option<u32> = std::option::Option::Some(d.attempt());
    std::result::Result::Ok(())
}

/// Arguments with the names that the generated code uses.
#[dotmsg::handler(topic = "t")]
pub async fn names(
    delivery: dotmsg::Delivery,
    state: dotmsg::Delivery,
    mut value: dotmsg::Delivery,
) -> R {
    std::clone::Clone::clone_from(&mut value, &delivery);
    std::clone::Clone::clone_from(&mut value, &state);
    std::result::Result::Ok(())
}

/// A state whose fields are its parts.
#[derive(std::fmt::Debug, dotmsg::FromRef)]
pub struct Service {
    /// A part.
    pub limit: usize,
    /// Another part.
    pub names: Vec<&'static str>,
}

/// A part of the state.
#[dotmsg::handler(topic = "t")]
pub async fn part(dotmsg::State(limit): dotmsg::State<usize>) {
    let _unused: std::option::Option<usize> = limit.checked_add(1);
}

/// An error that says its class.
#[derive(std::fmt::Debug, std::clone::Clone, std::marker::Copy, dotmsg::Classify)]
pub enum Failure {
    /// A class and a kind.
    #[classify(permanent, kind = "first")]
    First,
    /// The class of its field.
    #[classify(inner)]
    Inner(Inner),
}

/// One that another has as its cause.
#[derive(std::fmt::Debug, std::clone::Clone, std::marker::Copy, dotmsg::Classify)]
#[classify(transient)]
pub struct Inner;

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Failure {}

/// An error that says its class.
#[dotmsg::handler(topic = "t")]
pub async fn fails(d: &dotmsg::Delivery) -> std::result::Result<(), Failure> {
    match d.attempt() {
        1 => std::result::Result::Err(Failure::First),
        _ => std::result::Result::Err(Failure::Inner(Inner)),
    }
}

/// Payloads of several types.
#[derive(std::fmt::Debug, dotmsg::FromPayload)]
#[payload(header = "type")]
pub enum Event<'d> {
    /// With a name.
    #[payload(name = "text")]
    Text(dotmsg::Json<&'d str>),
    /// Without one.
    Raw(dotmsg::Bytes),
    /// All others.
    #[payload(other)]
    Other(std::option::Option<dotmsg::Bytes>),
}

/// The same without a lifetime, by a field.
#[derive(std::fmt::Debug, dotmsg::FromPayload)]
#[payload(field = "type")]
pub enum Owned {
    /// All there is.
    Raw(dotmsg::Bytes),
}

/// One of several payloads.
#[dotmsg::handler(topic = "t")]
pub async fn event(event: Event<'_>) {
    std::mem::drop(event);
}

/// The same as a result.
#[dotmsg::handler(topic = "t")]
pub async fn owned(event: std::result::Result<Owned, dotmsg::HandlerError>) {
    std::mem::drop(event);
}

/// No argument and nothing returned.
#[dotmsg::handler(topic = "t")]
pub async fn zero() {}

/// A value with handlers.
#[derive(std::fmt::Debug)]
pub struct Shop {
    limit: u32,
}

#[dotmsg::handlers]
impl Shop {
    /// A borrow, and a raw name.
    #[handler(topic = "t", concurrency = 5usize)]
    pub async fn r#move(&self, d: &dotmsg::Delivery) {
        let _unused: bool = d.attempt() < self.limit;
    }

    /// A name that the generated code uses.
    #[handler(topic = "t")]
    async fn this(&self, this: dotmsg::Delivery) {
        std::mem::drop(this);
    }

    /// No argument and nothing returned.
    #[handler(topic = "t", name = "none")]
    async fn zero(&self) {}
}

#[test]
fn handlers_of_a_strict_crate_can_be_registered() {
    let app: dotmsg::App = dotmsg::App::with_config(dotmsg::config::Config::new());
    let _app: dotmsg::App = app
        .handler(plain)
        .handler(r#type)
        .handler(life)
        .handler(names)
        .handler(zero)
        .handlers(Shop { limit: 3 })
        .handler(fails)
        .handler(event)
        .handler(owned);
    let service = Service {
        limit: 1,
        names: Vec::new(),
    };
    let app: dotmsg::App = dotmsg::App::with_config(dotmsg::config::Config::new());
    let _app: dotmsg::App<Service> = app.state(service).handler(part);
}
