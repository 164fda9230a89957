//! Handlers with mistakes, registered and called as if they had none: only the mistakes show.
use dotmsg::handler::{Attempt, Json};
use dotmsg::{App, Config};

#[dotmsg::handler(topic = "orders", ordering = "keys")]
async fn wrong_value(Json(_order): Json<u64>) {}

#[dotmsg::handler(topic = "orders")]
fn not_async(Json(order): Json<u64>) -> u64 {
    order
}

#[dotmsg::handler(topic = "orders")]
async fn two_payloads(Json(_order): Json<u64>, Json(_again): Json<u64>) {}

#[dotmsg::handler(topic = "orders")]
async fn payload_first(Json(_order): Json<u64>, _: Attempt) -> Result<(), dotmsg::HandlerError> {
    Ok(())
}

#[dotmsg::handler(topic = "orders")]
async fn generic<T: serde::de::DeserializeOwned + Send>(Json(_order): Json<T>) {}

#[dotmsg::handler(topic = "orders")]
#[rustfmt::skip]
async fn many(
    _: Attempt, _: Attempt, _: Attempt, _: Attempt, _: Attempt, _: Attempt, _: Attempt,
    _: Attempt, _: Attempt, _: Attempt, _: Attempt, _: Attempt, _: Attempt,
) {}

async fn test() {
    let doubled: u64 = not_async(Json(7)).await * 2;
    assert_eq!(doubled, 14);
    two_payloads(Json(1), Json(2)).await;
}

fn main() {
    let _ = test();
    let _ = App::with_config(Config::new())
        .handler(wrong_value)
        .handler(not_async)
        .handler(two_payloads)
        .handler(payload_first)
        .handler(generic::<u64>)
        .handler(many);
}
