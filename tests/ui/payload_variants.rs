//! Variants that cannot be told apart, hold too much or too little, or no payload at all.
use dotmsg::{Bytes, FromPayload, Json};

struct Order;

#[derive(FromPayload)]
#[payload(header = "type")]
enum OrderEvent {
    #[payload(name = "placed")]
    Placed(Json<u64>),
    #[payload(name = "placed")]
    PlacedAgain(Json<u64>),
    Cancelled(Json<u64>),
    #[payload(name = "Cancelled")]
    CancelledAgain(Json<u64>),
    Named { order: Json<u64> },
    Unit,
    Two(Json<u64>, Bytes),
    #[payload(other)]
    Other(Bytes),
    #[payload(other)]
    Others(Bytes),
    #[payload(name = "x", other)]
    Both(Bytes),
    #[payload(named = "y")]
    Typo(Bytes),
    #[payload(name)]
    NoName(Bytes),
    Field(#[payload(name = "z")] Bytes),
}

#[derive(FromPayload)]
#[payload(header = "type")]
enum Undecoded {
    Placed(Order),
}

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn used_all_the_same(event: OrderEvent) {
    drop(event);
}

fn main() {}
