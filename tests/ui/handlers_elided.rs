//! A borrow that has no name.
use dotmsg::Json;

struct Borrowing<'a>(&'a str);

#[dotmsg::handlers]
impl Borrowing<'_> {
    #[handler(topic = "orders", group = "c")]
    async fn bill(&self, _: Json<u64>) {
        println!("{}", self.0);
    }
}

fn main() {}
