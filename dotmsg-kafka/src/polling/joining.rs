//! Joining again where the instance id is not free yet, or this member has fenced itself.
//!
//! With `group.protocol = "consumer"` a static member that was killed keeps its id until its session is over, and whoever comes back
//! in its place is refused until then; librdkafka gives such a consumer up for good. To end the process would only make its
//! supervisor start it again and again. So the member waits, with a new consumer for each try, and an id that stays in use is an
//! error after all.
//!
//! Under the classic protocol the one that comes back takes the id over at once, and whoever had it is fenced. But a consumer of
//! librdkafka 2.12.1 also fences itself (its issue 3437). A static member that has not heard from the coordinator for a session
//! forgets the member id that it was given, and heartbeats and commits without one; to a coordinator that still knows the id, as one
//! does that was frozen, or has just taken over, that is another member. And a request to join whose answer was lost makes a member
//! that nobody knows of. So the group is asked who has the instance id. One of the ids that this very member was given, or nobody:
//! it joins again. Anybody else is waited for as long as a session lasts: the member that nobody knows of is gone by then, and one
//! that is still there is a second process with the same instance id. That is an error; to join again would throw it out, and it would do
//! the same in turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::Polling;
use crate::consumer::PolledConsumer;
use crate::error;
use crate::lock;
use crate::member::Client;
use crate::native;
use crate::now;
use crate::patience::passes;

/// How long an id may be in use before that is an error: more than a session lasts by the broker's default of 45 seconds. Not longer
/// than `max.poll.interval.ms`: who wants to hear sooner of a member that is stuck also wants to hear sooner of this.
const FREE_WITHIN: Duration = Duration::from_secs(60);
/// What librdkafka has for `session.timeout.ms` where nobody says another.
const SESSION: Duration = Duration::from_secs(45);
/// How much longer than its session a member that has fenced this one is watched: it may have joined late, and is asked after by turns.
const SLACK: Duration = Duration::from_secs(5);
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(500);

/// When the group did not let the member in, first and last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    since: Instant,
    /// Nothing while a try is under way.
    last: Option<Instant>,
    /// It was in before: its client is closed, and who has the id is to be found out.
    is_fenced: bool,
}

impl Polling {
    /// The group refuses the id: somebody has it.
    pub(super) fn refused(&mut self) {
        let since = self.state.refused.map_or_else(now, |refused| refused.since);
        if since.elapsed() > FREE_WITHIN.min(self.rebalance_timeout) {
            self.id_is_taken("the instance id is in use by another member", None);
            return;
        }
        if self.state.refused.is_none() {
            tracing::warn!(
                topic = &*self.member.topic,
                group = &*self.member.group,
                "the instance id is in use: waiting until the session of whoever has it is over"
            );
        }
        self.state.refused = Some(Refused {
            since,
            last: Some(now()),
            is_fenced: false,
        });
    }

    /// The group takes another for the one that has the id. librdkafka has given this consumer up, and calls back no more about what
    /// it had.
    pub(super) fn fenced(&mut self) {
        tracing::warn!(
            topic = &*self.member.topic,
            group = &*self.member.group,
            "fenced under the own instance id: asking the group who has it"
        );
        self.note_id();
        let held = lock(&self.member.ownership).held();
        self.revoked(held, true);
        self.close_client();
        self.state.stopped.clear();
        self.state.refused = Some(Refused {
            since: now(),
            last: Some(now()),
            is_fenced: true,
        });
    }

    /// Whether it was fenced, and has no client that is alive.
    pub(super) fn is_fenced(&self) -> bool {
        self.state.refused.is_some_and(|refused| refused.is_fenced)
    }

    /// The group has taken the member.
    pub(super) fn joined(&mut self) {
        self.state.refused = None;
    }

    /// Remembers the id that the group has given a static member.
    pub(super) fn note_id(&mut self) {
        if self.instance().is_some() {
            let id = native::member_id(&self.consumer.client);
            self.state.ids.extend(id);
        }
    }

    /// Tries again when it is time.
    pub(super) fn join_again(&mut self) {
        let Some(refused) = self.state.refused else {
            return;
        };
        let is_time = refused.last.is_some_and(|last| last.elapsed() >= PAUSE);
        if !is_time || self.state.closing.is_some() {
            return;
        }
        if refused.is_fenced && !self.may_come_back(refused) {
            return;
        }
        self.state.refused = Some(Refused {
            last: None,
            is_fenced: false,
            ..refused
        });
        if let Err(error) = self.renew() {
            self.member.fail(error.with("group", &self.member.group));
        }
    }

    /// Whether one that was fenced may join again, now. If it never may, the membership has failed.
    fn may_come_back(&mut self, refused: Refused) -> bool {
        let waits = refused.since.elapsed() < self.session() + SLACK;
        let (free, last) = match self.holder_is_another() {
            Ok(false) => (true, None),
            Ok(true) if waits => (false, Some(now())),
            Err(code) if waits && passes(code) => (false, Some(now())),
            answer => {
                let message = "another member has joined under the same instance id";
                self.id_is_taken(message, answer.err());
                (false, None)
            }
        };
        self.state.refused = Some(Refused { last, ..refused });
        free
    }

    /// Whether the instance id is that of a member which is not, and never was, this one.
    fn holder_is_another(&self) -> Result<bool, Code> {
        let instance = self.instance().unwrap_or_default();
        let holder = self.admin.holder_of(&self.member.group, instance)?;
        Ok(holder.is_some_and(|id| !self.state.ids.contains(&id)))
    }

    fn instance(&self) -> Option<&str> {
        self.config.get("group.instance.id")
    }

    /// After so long without a word the group has forgotten a member.
    fn session(&self) -> Duration {
        let set = self.config.get("session.timeout.ms");
        let set = set.and_then(|ms| ms.parse().ok());
        set.map_or(SESSION, Duration::from_millis)
    }

    fn id_is_taken(&self, message: &'static str, unknown: Option<Code>) {
        let error = Error::new(ErrorKind::Fenced, "consume", message)
            .with("topic", &self.member.topic)
            .with("group", &self.member.group);
        let error = match unknown {
            Some(code) => error.with("who it is", code),
            None => error,
        };
        self.member
            .fail(error.remedy("Give each process an instance_id of its own in [backend.<name>]"));
    }

    /// A new consumer in place of one that librdkafka has given up. Nothing is assigned to it any more, so nothing is lost with it.
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
