//! Joining again where the instance id is not free yet.
//!
//! With `group.protocol = "consumer"` a static member that was killed keeps its id until its session is over, and whoever comes back
//! in its place is refused until then; librdkafka gives such a consumer up for good. To end the process would only make its
//! supervisor start it again and again. So the member waits, with a new consumer for each try, and an id that stays in use is an
//! error after all. (Under the classic protocol the one that comes back takes the id over at once.)

use std::sync::Arc;
use std::time::{Duration, Instant};

use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::consumer::Consumer;

use super::Polling;
use crate::consumer::PolledConsumer;
use crate::error;
use crate::lock;
use crate::member::Client;
use crate::now;

/// How long an id may be in use before that is an error: more than a session lasts by the broker's default of 45 seconds. Not longer
/// than `max.poll.interval.ms`: who wants to hear sooner of a member that is stuck also wants to hear sooner of this.
const FREE_WITHIN: Duration = Duration::from_secs(60);
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(500);

/// When the group refused the id, first and last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    since: Instant,
    /// Nothing while a try is under way.
    last: Option<Instant>,
}

impl Polling {
    /// The group refuses the id: somebody has it.
    pub(super) fn refused(&mut self) {
        let (topic, group) = (&self.member.topic, &self.member.group);
        let since = self.state.refused.map_or_else(now, |refused| refused.since);
        if since.elapsed() > FREE_WITHIN.min(self.rebalance_timeout) {
            self.member.fail(
                Error::new(
                    ErrorKind::Fenced,
                    "consume",
                    "the instance id is in use by another member",
                )
                .with("topic", topic)
                .with("group", group)
                .remedy("Give each process an instance_id of its own in [backend.<name>]"),
            );
            return;
        }
        if self.state.refused.is_none() {
            tracing::warn!(
                topic = &**topic,
                group = &**group,
                "the instance id is in use: waiting until the session of whoever has it is over"
            );
        }
        let last = Some(now());
        self.state.refused = Some(Refused { since, last });
    }

    /// The group has taken the member.
    pub(super) fn joined(&mut self) {
        self.state.refused = None;
    }

    /// Tries again when it is time.
    pub(super) fn join_again(&mut self) {
        let Some(Refused {
            since,
            last: Some(last),
        }) = self.state.refused
        else {
            return;
        };
        if last.elapsed() < PAUSE || self.state.closing.is_some() {
            return;
        }
        self.state.refused = Some(Refused { since, last: None });
        if let Err(error) = self.renew() {
            self.member.fail(error.with("group", &self.member.group));
        }
    }

    /// A new consumer in place of one that librdkafka has given up. Nothing was assigned to it, so nothing is lost with it.
    fn renew(&mut self) -> Result<()> {
        let bell = Arc::clone(&self.member.bell);
        let consumer = PolledConsumer::with_bell("subscribe", &self.config, bell)?;
        self.replies = Arc::new(consumer.queue());
        *lock(&self.member.client) = Some(Client {
            consumer: Arc::clone(&consumer.client),
            replies: Arc::clone(&self.replies),
        });
        self.consumer = consumer;
        let subscribed = self.consumer.client.subscribe(&[&self.member.topic]);
        subscribed.map_err(|error| error::of_client("subscribe", error))
    }
}
