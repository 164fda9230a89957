//! The receiver: one route of an axum server that publishes what it is sent.
//!
//! The sender takes 202 for "you have it now" and forgets the event. So 202 is answered after the publish is confirmed and
//! never before; whatever is not known to be in the log is answered with 503, which makes the sender send it again. The
//! sender's own id of the event becomes the message's id, so that what comes twice is handled once.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use dotmsg::{ErrorKind, Message, Publisher};
use tokio::time::timeout;

/// Senders give up waiting after some seconds; a 503 tells them more than a connection that ends.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(3);

pub(crate) fn router(publisher: Publisher) -> Router {
    Router::new()
        .route("/hooks/{shop}", post(receive))
        .with_state(publisher)
}

async fn receive(
    State(publisher): State<Publisher>,
    Path(shop): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Some(id) = headers.get("webhook-id") else {
        return StatusCode::BAD_REQUEST;
    };
    let message = Message::new(body)
        .with_key(shop)
        .with_id(id.as_bytes().to_vec());
    match timeout(CONFIRMED_WITHIN, publisher.publish("events", message)).await {
        Ok(Ok(_)) => StatusCode::ACCEPTED,
        // To send this one again would not help.
        Ok(Err(error)) if error.kind() == ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        // Not appended, or not known to be.
        Ok(Err(_)) | Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
