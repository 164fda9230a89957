//! A future that cannot move between threads.
use std::rc::Rc;

use dotmsg::handler::Json;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(Json(order): Json<u64>) {
    let order = Rc::new(order);
    std::future::ready(()).await;
    drop(order);
}

fn main() {}
