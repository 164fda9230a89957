//! The app under test.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use super::journal::Journal;
use super::time::now;
use super::{Became, Entry, Publishing, TestBrokers, What};
use crate::app::{Adapters, App, AppHandle, AppReport, RouteHandle, Running};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::message::Message;
use crate::replay::{DeadLetter, DeadLetters, Replay, ReplayReport};

/// Turns of the scheduler that aborted tasks get to be dropped: each needs a few at most.
const TURNS_MAX: u32 = 10_000;

/// Virtual time after which an app that is still busy is taken for one that never will be idle: nobody waits a month.
const IDLE_WITHIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Entries of the journal that the message of a failed assertion shows: the last ones.
const SHOWN_ENTRIES: usize = 60;

/// An app that runs on memory brokers in virtual time. See the [module](super).
#[derive(Debug)]
pub struct TestApp {
    brokers: TestBrokers,
    handle: AppHandle,
    journal: Arc<Journal>,
    /// `None` once its end was seen.
    task: Option<JoinHandle<Result<AppReport>>>,
}

impl TestApp {
    /// Starts an app on brokers of its own with every default. [`TestBrokers`] has the settings, and restarts.
    ///
    /// # Panics
    /// When its configuration is wrong, and outside of a tokio runtime of one thread.
    pub async fn start<S, R>(app: App<S, R>) -> Self
    where
        S: Send + Sync + 'static,
        R: Adapters,
    {
        TestBrokers::new().start(app).await
    }

    pub(super) fn new(brokers: TestBrokers, running: Running, journal: Arc<Journal>) -> Self {
        Self {
            brokers,
            handle: running.handle().clone(),
            journal,
            task: Some(tokio::spawn(running.wait())),
        }
    }

    // ---- feeding it -----------------------------------------------------------------------------------------------

    /// Publishes `value` as JSON: `test.publish("orders", &order).key("c-1").id("o-1").await`. The topic is named as the
    /// app names it, without the backend's prefix.
    ///
    /// # Panics
    /// When `value` cannot be represented as JSON; awaiting it, when the broker refuses it.
    pub fn publish<T: Serialize + ?Sized>(&self, topic: &str, value: &T) -> Publishing<'_> {
        match serde_json::to_vec(value) {
            Ok(json) => self.publish_raw(topic, Message::new(json)),
            Err(error) => panic!("the value for {topic} has no JSON form: {error}"),
        }
    }

    /// Publishes a message as it is.
    pub fn publish_raw(&self, topic: &str, message: Message) -> Publishing<'_> {
        Publishing::new(self, topic, message)
    }

    // ---- time -----------------------------------------------------------------------------------------------------

    /// Runs until the app has nothing to do but wait for new messages or for a retry that is not due, with its progress
    /// committed. A handler that sleeps is waited for, which moves the time.
    ///
    /// # Panics
    /// When the app has failed ([`TestApp::failure`] expects it to), or when a handler never ends.
    pub async fn run_until_idle(&mut self) {
        self.idle().await;
        if !self.has_ended() {
            return;
        }
        match self.ended().await {
            Ok(_) => panic!("the app under test has ended"),
            Err(error) => panic!(
                "the app under test failed: {error}\n{}",
                self.happened(None)
            ),
        }
    }

    /// Moves the time on, through everything that becomes due on the way, then runs until idle.
    ///
    /// # Panics
    /// When the app has failed.
    pub async fn advance(&mut self, by: Duration) {
        self.run_until_idle().await;
        tokio::time::sleep(by).await;
        self.run_until_idle().await;
    }

    /// Now, in virtual time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.brokers.clock().now()
    }

    // ---- looking at it --------------------------------------------------------------------------------------------

    /// The brokers, to look into them and to start another app on them.
    #[must_use]
    pub fn brokers(&self) -> &TestBrokers {
        &self.brokers
    }

    /// The app's own handle: routes, counters, publishers.
    #[must_use]
    pub fn handle(&self) -> &AppHandle {
        &self.handle
    }

    /// The route of a handler.
    ///
    /// # Panics
    /// When the app has no such handler.
    #[must_use]
    #[track_caller]
    pub fn route(&self, handler: &str) -> &RouteHandle {
        let Some(route) = self.handle.route(handler) else {
            let routes = self.handle.routes().iter();
            let known: Vec<&str> = routes.map(|route| &*route.spec.handler).collect();
            panic!("the app has no handler `{handler}`, it has {known:?}")
        };
        route
    }

    /// How often a handler was called, retries in place and over tiers included.
    #[must_use]
    #[track_caller]
    pub fn calls(&self, handler: &str) -> usize {
        self.history(handler)
            .iter()
            .filter(|entry| matches!(entry.what, What::Called(_)))
            .count()
    }

    /// Everything that happened in a handler's route, in order.
    #[must_use]
    #[track_caller]
    pub fn history(&self, handler: &str) -> Vec<Entry> {
        let name = &self.route(handler).spec.handler;
        let mut entries = self.journal.entries();
        entries.retain(|entry| entry.handler == *name);
        entries
    }

    /// What the deliveries of the message with this identity came to, in order: `[Away(5s), Handled]`.
    #[must_use]
    #[track_caller]
    pub fn became(&self, handler: &str, id: &str) -> Vec<Became> {
        let of_message = |entry: Entry| match entry.what {
            What::Became(became) if entry.id == id => Some(became),
            What::Became(_) | What::Called(_) => None,
        };
        let history = self.history(handler).into_iter();
        history.filter_map(of_message).collect()
    }

    /// The messages of a topic in the order in which they were appended (to the millisecond, then by partition and
    /// offset), whoever published them. The name is the app's, without prefix; it is looked up on every backend.
    #[must_use]
    pub fn published(&self, topic: &str) -> Vec<Message> {
        let mut names: Vec<(&str, String)> = Vec::new();
        for route in self.handle.routes() {
            let source = &*route.topology.source;
            let prefix = source.strip_suffix(&*route.spec.topic).unwrap_or_default();
            let name = (&*route.spec.backend, format!("{prefix}{topic}"));
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
            .into_iter()
            .flat_map(|(backend, name)| self.brokers.records(backend, &name))
            .map(|(_, record)| record.message)
            .collect()
    }

    /// The same, decoded from JSON.
    ///
    /// # Panics
    /// When one of them has no payload or is not a `T`.
    #[must_use]
    #[track_caller]
    pub fn published_json<T: DeserializeOwned>(&self, topic: &str) -> Vec<T> {
        let mut decoded = Vec::new();
        for (index, message) in self.published(topic).into_iter().enumerate() {
            let Some(payload) = message.payload else {
                panic!("message {index} of {topic} is a tombstone")
            };
            match serde_json::from_slice(&payload) {
                Ok(value) => decoded.push(value),
                Err(error) => {
                    let wanted = std::any::type_name::<T>();
                    panic!("message {index} of {topic} is no {wanted}: {error}")
                }
            }
        }
        decoded
    }

    /// The dead letters of a handler's route, by partition and offset.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    #[track_caller]
    pub fn dead_letters(&self, handler: &str) -> Vec<DeadLetter> {
        let route = self.route(handler);
        let topic = &route.topology.dead_letter;
        match now(DeadLetters::read(&*route.backend, topic)) {
            Ok(letters) => letters,
            Err(error) => panic!("the dead letters of `{handler}` cannot be read: {error}"),
        }
    }

    /// Replays every dead letter of a handler's route that was not replayed before, as an operator would, and runs until idle.
    ///
    /// # Panics
    /// When the replay fails.
    pub async fn replay(&mut self, handler: &str) -> ReplayReport {
        self.replay_with(handler, |replay| replay).await
    }

    /// The same with options: `test.replay_with("bill", |replay| replay.kind("no_rate").per_second(10))`.
    ///
    /// # Panics
    /// When the replay fails.
    pub async fn replay_with(
        &mut self,
        handler: &str,
        options: impl FnOnce(Replay) -> Replay,
    ) -> ReplayReport {
        match options(self.route(handler).replay()).run().await {
            Ok(report) => {
                self.run_until_idle().await;
                report
            }
            Err(error) => panic!("replaying the dead letters of `{handler}` failed: {error}"),
        }
    }

    // ---- ending it ------------------------------------------------------------------------------------------------

    /// Drains as on SIGTERM and gives the report. What happened can be looked at afterwards.
    ///
    /// # Panics
    /// When the app failed.
    pub async fn shutdown(&mut self) -> AppReport {
        self.handle.drain();
        match self.ended().await {
            Ok(report) => report,
            Err(error) => panic!(
                "the app under test failed: {error}\n{}",
                self.happened(None)
            ),
        }
    }

    /// Ends as a killed process does: nothing is drained, nothing is committed. The brokers stay, and what happened can
    /// be looked at afterwards. Others of its group get its partitions at once, with an `instance_id` after the session
    /// timeout; a real broker would wait for that either way.
    ///
    /// # Panics
    /// When something outside of the app holds a route's counters, so that its end cannot be seen.
    pub async fn crash(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Whether it was still running or had failed already makes no difference to a crash.
            let _ = task.await;
        }
        let routes = self.handle.routes();
        let gone = |route: &RouteHandle| Arc::strong_count(&route.stats) == 1;
        for _ in 0..TURNS_MAX {
            if routes.iter().all(gone) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("a route of the crashed app is still alive: something holds its counters");
    }

    /// Waits for the app to fail by itself and gives the error.
    ///
    /// # Panics
    /// When it is idle and well, or ended without an error.
    pub async fn failure(&mut self) -> Error {
        self.idle().await;
        assert!(
            self.has_ended(),
            "the app under test was expected to fail, and is idle\n{}",
            self.happened(None)
        );
        match self.ended().await {
            Ok(report) => panic!("the app under test ended without an error: {report:?}"),
            Err(error) => error,
        }
    }

    /// A route that ends by itself ends the app.
    fn has_ended(&self) -> bool {
        let mut routes = self.handle.routes().iter();
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
            || routes.any(|route| route.stats.has_ended())
    }

    async fn ended(&mut self) -> Result<AppReport> {
        let Some(task) = self.task.take() else {
            panic!("the app under test has ended before");
        };
        match task.await {
            Ok(result) => result,
            Err(error) => panic!("the app under test panicked: {error}"),
        }
    }

    async fn idle(&self) {
        let idle = tokio::time::timeout(IDLE_WITHIN, self.handle.idle());
        assert!(
            idle.await.is_ok(),
            "the app under test is never idle: does a handler wait for something that does not come?\n{}",
            self.happened(None)
        );
    }

    /// The journal as text, for the messages of failed assertions.
    pub(super) fn happened(&self, handler: Option<&str>) -> String {
        let mut entries = self.journal.entries();
        entries.retain(|entry| handler.is_none_or(|handler| entry.handler == handler));
        if entries.is_empty() {
            return "nothing happened".to_owned();
        }
        let left_out = entries.len().saturating_sub(SHOWN_ENTRIES);
        let lines = entries[left_out..]
            .iter()
            .map(|entry| format!("\n  {entry}"));
        let before = match left_out {
            0 => String::new(),
            more => format!("\n  … {more} entries before"),
        };
        format!("what happened:{before}{}", lines.collect::<String>())
    }
}
