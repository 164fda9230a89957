//! The error in the `Result` is not the rejection of the extractor in it.
use dotmsg::handler::{Json, Key, KeyRejection};

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn payload(_order: Result<Json<u64>, KeyRejection>) {}

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn part(_key: Result<Key<u64>, String>, Json(_order): Json<u64>) {}

fn main() {}
