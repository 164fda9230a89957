//! A member: handles rows until SIGTERM.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use dotmsg::handler::FromDelivery;
use dotmsg::{Delivery, HandlerError, Json};

use crate::Probe;
use crate::audit::{Audit, now_us};

/// What the calls share.
struct Member {
    audit: Audit,
    delay: Duration,
    stuck: Option<u64>,
}

/// The member, borrowed.
struct Of<'d>(&'d Member);

impl<'d> FromDelivery<'d, Arc<Member>> for Of<'d> {
    type Rejection = Infallible;

    fn from_delivery(_: &'d Delivery, member: &'d Arc<Member>) -> Result<Self, Infallible> {
        Ok(Self(member))
    }
}

#[dotmsg::handler(topic = "events", group = "probe", state = Arc<Member>)]
async fn event(
    Of(member): Of<'_>,
    delivery: &Delivery,
    Json(row): Json<u64>,
) -> Result<(), HandlerError> {
    let start = now_us();
    if member.stuck == Some(row) {
        pending::<()>().await;
    }
    if !member.delay.is_zero() {
        tokio::time::sleep(member.delay).await;
    }
    member
        .audit
        .handled(delivery, row, start)
        .map_err(HandlerError::transient)
}

/// Runs until a signal ends it.
///
/// # Errors
/// What the app says.
pub(crate) async fn run(app: Probe, delay: Duration, stuck: Option<u64>) -> Result<(), String> {
    let audit = Audit::create().map_err(|error| format!("cannot write the audit: {error}"))?;
    let member = Arc::new(Member {
        audit,
        delay,
        stuck,
    });
    let running = app.state(member).handler(event).start().await;
    let ended = running.map_err(|error| error.to_string())?.run().await;
    ended.map(drop).map_err(|error| error.to_string())
}
