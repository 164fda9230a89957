//! The future of a method cannot move between threads.
use std::rc::Rc;

use dotmsg::Json;

struct Billing;

#[dotmsg::handlers]
impl Billing {
    #[handler(topic = "orders", group = "billing")]
    async fn bill(&self, Json(order): Json<u64>) {
        let order = Rc::new(order);
        std::future::ready(()).await;
        drop(order);
    }
}

fn main() {}
