//! The type in `Key` is not one a key is read as.
use dotmsg::handler::{Json, Key};

struct Customer;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(Key(_customer): Key<Customer>, Json(_order): Json<u64>) {}

fn main() {}
