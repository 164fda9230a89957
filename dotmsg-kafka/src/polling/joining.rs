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

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::Polling;
use crate::consumer::PolledConsumer;
use crate::error;
use crate::fetch::Fetch;
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

/// Why a member that is to be in its group is out of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Out {
    /// The id was in use when it came.
    Refused {
        since: Instant,
        /// Nothing while a try is under way.
        last: Option<Instant>,
    },
    /// It was in, and another seems to have its id.
    Fenced {
        /// When the group was asked last; nothing once the membership has failed.
        asked: Option<Instant>,
        /// When another was first named as the one that has the id.
        named: Option<Instant>,
    },
}

/// What a member that was fenced does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Join,
    Wait,
    /// There is another member.
    EndForAnother,
    /// It cannot be found out.
    End(Code),
}

/// Whether the id of whoever has the instance id is none that this member was given.
fn is_another(holder: Option<String>, own: &BTreeSet<String>) -> bool {
    holder.is_some_and(|id| !own.contains(&id))
}

/// `another`: whether another has the instance id, `named`: since how long so, `session`: how long one that is gone may be.
fn next(another: Result<bool, Code>, named: Duration, session: Duration) -> Next {
    match another {
        Ok(false) => Next::Join,
        Ok(true) if named < session + SLACK => Next::Wait,
        Ok(true) => Next::EndForAnother,
        Err(code) if passes(code) => Next::Wait,
        Err(code) => Next::End(code),
    }
}

impl Polling {
    /// The group refuses the id: somebody has it.
    pub(super) fn refused(&mut self) {
        let since = match self.state.out {
            Some(Out::Refused { since, .. }) => since,
            _ => {
                tracing::warn!(
                    topic = &*self.member.topic,
                    group = &*self.member.group,
                    "the instance id is in use: waiting until the session of whoever has it is over"
                );
                now()
            }
        };
        if since.elapsed() > FREE_WITHIN.min(self.rebalance_timeout) {
            self.id_is_taken("the instance id is in use by another member");
            return;
        }
        let last = Some(now());
        self.state.out = Some(Out::Refused { since, last });
    }

    /// The group takes another for the one that has the id. librdkafka has given this consumer up: it does not close, and calls back no
    /// more about what it had, but goes on fetching that until it is told not to.
    pub(super) fn fenced(&mut self) {
        tracing::warn!(
            topic = &*self.member.topic,
            group = &*self.member.group,
            "fenced under the own instance id: asking the group who has it"
        );
        let owned = lock(&self.member.ownership).all();
        self.revoked(owned, true);
        self.forget_revoked();
        self.forget_commits();
        if let Err(error) = self.consumer.client.unassign() {
            tracing::debug!(%error, "giving up what it had");
        }
        self.forget_reading();
        self.state.out = Some(Out::Fenced {
            asked: Some(now()),
            named: None,
        });
    }

    /// Nothing of this client is read any more.
    pub(super) fn forget_reading(&mut self) {
        self.fetch = Fetch::new();
        self.state.starts.clear();
        self.state.stopped.clear();
    }

    /// Whether it was fenced, and is not to be served until it has another client.
    pub(super) fn is_fenced(&self) -> bool {
        matches!(self.state.out, Some(Out::Fenced { .. }))
    }

    /// The group has taken the member.
    pub(super) fn joined(&mut self) {
        self.state.out = None;
        self.note_id();
    }

    /// Remembers the id that the group has given a static member.
    fn note_id(&mut self) {
        if self.instance().is_some() {
            let id = native::member_id(&self.consumer.client);
            self.state.ids.extend(id);
        }
    }

    /// Tries again when it is time.
    pub(super) fn join_again(&mut self) {
        let is_time = |last: Option<Instant>| last.is_some_and(|last| last.elapsed() >= PAUSE);
        if self.state.closing.is_some() {
            return;
        }
        match self.state.out {
            Some(Out::Refused { since, last }) if is_time(last) => {
                self.state.out = Some(Out::Refused { since, last: None });
                self.renew();
            }
            Some(Out::Fenced { asked, named }) if is_time(asked) => self.ask_who_has_the_id(named),
            _ => {}
        }
    }

    /// Joins again if nobody else has the id, and ends the membership if somebody has.
    fn ask_who_has_the_id(&mut self, named: Option<Instant>) {
        self.note_id();
        let (topic, group) = (&*self.member.topic, &*self.member.group);
        let instance = self.instance().unwrap_or_default();
        let holder = self.admin.holder_of(group, instance);
        let another = holder.map(|holder| is_another(holder, &self.state.ids));
        let named = named.or_else(|| (another == Ok(true)).then(now));
        let named_for = named.map_or(Duration::ZERO, |at| at.elapsed());
        let next = next(another, named_for, self.session());
        tracing::debug!(topic, group, ?another, ?next, "who has the instance id");
        match next {
            Next::Join => {
                tracing::info!(
                    topic,
                    group,
                    "nobody else has the instance id: joining again"
                );
                self.state.out = None;
                self.renew();
                return;
            }
            Next::Wait => {}
            Next::EndForAnother => {
                self.id_is_taken("another member has joined under the same instance id");
            }
            Next::End(code) => {
                let error = error::of_code("look up who has the instance id", code);
                self.member
                    .fail(error.with("topic", topic).with("group", group));
            }
        }
        let asked = (next == Next::Wait).then(now);
        self.state.out = Some(Out::Fenced { asked, named });
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

    fn id_is_taken(&self, message: &'static str) {
        let error = Error::new(ErrorKind::Fenced, "consume", message)
            .with("topic", &self.member.topic)
            .with("group", &self.member.group)
            .with("instance id", self.instance().unwrap_or_default())
            .remedy("Give each process an instance_id of its own in [backend.<name>]");
        self.member.fail(error);
    }

    /// Joins with a new consumer; if that cannot be, the membership has failed.
    pub(super) fn renew(&mut self) {
        if let Err(error) = self.replace_client() {
            self.member.fail(error.with("group", &self.member.group));
        }
    }

    /// A new consumer in place of one that librdkafka has given up. Nothing is assigned to it any more, so nothing is lost with it.
    fn replace_client(&mut self) -> Result<()> {
        let bell = Arc::clone(&self.member.bell);
        let consumer = PolledConsumer::with_bell("subscribe", &self.config, bell)?;
        let replies = Arc::new(consumer.queue());
        let client = Client {
            consumer: Arc::clone(&consumer.client),
            replies: Arc::clone(&replies),
        };
        let subscribed = client.consumer.subscribe(&[&self.member.topic]);
        let gone = (
            std::mem::replace(&mut self.consumer, consumer),
            std::mem::replace(&mut self.replies, replies),
            lock(&self.member.client).replace(client),
        );
        // It ends when the last request to a coordinator that may be silent has timed out, which nobody has to wait for.
        let ended = thread::Builder::new()
            .name("kafka member given up".to_owned())
            .spawn(move || drop(gone));
        if let Err(error) = ended {
            tracing::debug!(%error, "a client was ended here, for want of a thread");
        }
        subscribed.map_err(|error| error::of_client("subscribe", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn named(holder: Option<&str>, named: Duration) -> Next {
        let own = BTreeSet::from(["mine".to_owned(), "mine before".to_owned()]);
        let another = is_another(holder.map(str::to_owned), &own);
        next(Ok(another), named, 3 * SECOND)
    }

    #[test]
    fn who_has_fenced_itself_joins_again() {
        assert_eq!(named(Some("mine"), Duration::ZERO), Next::Join);
        assert_eq!(named(Some("mine before"), 60 * SECOND), Next::Join);
        assert_eq!(named(None, Duration::ZERO), Next::Join);
    }

    #[test]
    fn another_is_given_its_session_to_go_away() {
        assert_eq!(named(Some("another"), Duration::ZERO), Next::Wait);
        assert_eq!(named(Some("another"), 3 * SECOND), Next::Wait);
        assert_eq!(
            named(Some("another"), 3 * SECOND + SLACK),
            Next::EndForAnother
        );
    }

    #[test]
    fn a_coordinator_that_is_away_says_nothing_of_anybody() {
        let away = Err(Code::OperationTimedOut);
        assert_eq!(next(away, 600 * SECOND, SECOND), Next::Wait);
        let denied = Code::GroupAuthorizationFailed;
        assert_eq!(next(Err(denied), SECOND, SECOND), Next::End(denied));
    }
}
