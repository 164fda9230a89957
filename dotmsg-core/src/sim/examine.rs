//! What is wrong with a case before anything is simulated.
//!
//! A wrong configuration would be started again and again until the virtual time is up, in every seed; a topic that nobody reads
//! would pass every check. Both are the test's own mistakes, and are told at once.

use std::collections::BTreeSet;

use crate::app::{Adapters, App};
use crate::message::Message;
use crate::testing::{TestBrokers, run};

/// Starts the app once, on brokers that behave.
///
/// # Errors
/// What is wrong, as a sentence.
pub(super) fn examine<S, R>(
    app: App<S, R>,
    messages: &[(String, Message)],
    members: u32,
) -> Result<(), String>
where
    S: Send + Sync + 'static,
    R: Adapters,
{
    if members == 0 {
        return Err("nobody is simulated: Simulation::members(0)".to_owned());
    }
    if messages.is_empty() {
        return Err("nothing is published: see Simulation::messages".to_owned());
    }
    if tokio::runtime::Handle::try_current().is_ok() {
        return Err("sim() makes runtimes of its own: call it from a plain #[test]".to_owned());
    }
    run(async {
        let started = TestBrokers::new().try_start(app).await;
        let mut test = started.map_err(|error| format!("the app does not start: {error}"))?;
        let routes = test.handle().routes();
        let read: BTreeSet<String> = routes
            .iter()
            .map(|route| route.topology.source.to_string())
            .collect();
        test.crash().await;
        let unread = messages.iter().find(|(topic, _)| !read.contains(topic));
        match unread {
            None => Ok(()),
            Some((topic, _)) => Err(format!(
                "nobody reads the topic {topic:?}: the app reads {read:?}"
            )),
        }
    })
}
