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

/// No argument and nothing returned.
#[dotmsg::handler(topic = "t")]
pub async fn zero() {}

/// A value with handlers.
#[derive(std::fmt::Debug)]
pub struct Service {
    limit: u32,
}

#[dotmsg::handlers]
impl Service {
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
        .handlers(Service { limit: 3 });
}
