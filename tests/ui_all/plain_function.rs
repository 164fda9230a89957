//! Without the attribute, a mistake is one of the whole function and points to the attribute.
use dotmsg::handler::Handler;

struct Order;

async fn no_extractor(_: Order) {}

fn is_handler<T, S>(_: impl Handler<T, S>) {}

fn main() {
    is_handler::<_, ()>(no_extractor);
}
