//! A payload of the user's own stands before a part.
use dotmsg::Delivery;
use dotmsg::handler::{Attempt, FromPayload, HandlerError};

struct Avro;

impl<'d, S> FromPayload<'d, S> for Avro {
    type Rejection = HandlerError;

    fn from_payload(_: &'d Delivery, _: &'d S) -> Result<Self, HandlerError> {
        Ok(Self)
    }
}

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(_: Avro, _: Attempt) {}

fn main() {}
