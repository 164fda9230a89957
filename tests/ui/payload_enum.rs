//! Enums that do not say where the name stands, or say it twice, or are none.
use dotmsg::{FromPayload, Json};

#[derive(FromPayload)]
enum Nowhere {
    Placed(Json<u64>),
}

#[derive(FromPayload)]
#[payload(header = "type", field = "type")]
enum Twice {
    Placed(Json<u64>),
}

#[derive(FromPayload)]
#[payload(type = "type")]
enum Typo {
    Placed(Json<u64>),
}

#[derive(FromPayload)]
#[payload(header = "type")]
enum Nothing {}

#[derive(FromPayload)]
#[payload(header = "type")]
enum Generic<T> {
    Placed(Json<T>),
}

#[derive(FromPayload)]
#[payload(header = "type")]
enum Lifetimes<'a, 'b> {
    Placed(Json<&'a str>),
    Billed(Json<&'b str>),
}

#[derive(FromPayload)]
#[payload(header = "type")]
struct Order {
    cents: u64,
}

fn main() {}
