//! Blocks that cannot have handlers: of a trait, generic, with a borrow.
use dotmsg::{App, Config, Json};

trait Bills {
    async fn bill(&self, order: Json<u64>);
}

struct Billing;

#[dotmsg::handlers]
impl Bills for Billing {
    #[handler(topic = "orders", group = "a")]
    async fn bill(&self, _: Json<u64>) {}
}

struct Generic<T>(T);

#[dotmsg::handlers]
impl<T: Clone> Generic<T> {
    #[handler(topic = "orders", group = "b")]
    async fn bill(&self, _: Json<u64>) {}
}

struct Borrowing<'a>(&'a str);

#[dotmsg::handlers]
impl<'a> Borrowing<'a> {
    #[handler(topic = "orders", group = "c")]
    async fn bill(&self, _: Json<u64>) {}
}

#[dotmsg::handlers]
struct NotABlock;

fn main() {
    let _ = App::with_config(Config::new())
        .handlers(Billing)
        .handlers(Generic(7))
        .handlers(Borrowing("static"));
}
