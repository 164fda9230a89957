//! Assertions whose failure says what did happen.

use super::time::now;
use super::{Became, TestApp};
use crate::replay::DeadLetter;

impl TestApp {
    /// The handler was called this often so far, retries included.
    ///
    /// # Panics
    /// When it was not.
    #[track_caller]
    pub fn assert_calls(&self, handler: &str, calls: usize) {
        let have = self.calls(handler);
        assert!(
            have == calls,
            "`{handler}` was called {have} times instead of {calls}\n{}",
            self.happened(Some(handler))
        );
    }

    /// The deliveries of the message with this identity came to this, in order.
    ///
    /// # Panics
    /// When they did not.
    #[track_caller]
    pub fn assert_became(&self, handler: &str, id: &str, became: &[Became]) {
        let have = self.became(handler, id);
        assert!(
            have == became,
            "message {id} of `{handler}` came to {have:?} instead of {became:?}\n{}",
            self.happened(Some(handler))
        );
    }

    /// A topic holds this many messages.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_published(&self, topic: &str, messages: usize) {
        let have = self.published(topic).len();
        assert!(
            have == messages,
            "topic {topic} holds {have} messages instead of {messages}\n{}",
            self.happened(None)
        );
    }

    /// The dead letters of the handler's route are of these kinds, in any order; gives them.
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub fn assert_dead_letters(&self, handler: &str, kinds: &[&str]) -> Vec<DeadLetter> {
        let letters = self.dead_letters(handler);
        let mut have: Vec<&str> = letters.iter().map(|letter| &*letter.kind).collect();
        let mut want = kinds.to_vec();
        have.sort_unstable();
        want.sort_unstable();
        if have != want {
            let lines: Vec<String> = letters.iter().map(|letter| format!("  {letter}")).collect();
            panic!(
                "`{handler}` has dead letters of kinds {have:?} instead of {want:?}\n{}\n{}",
                lines.join("\n"),
                self.happened(Some(handler))
            );
        }
        letters
    }

    /// Every message of the handler's topic is settled: nothing is left, nobody waits in a tier.
    ///
    /// # Panics
    /// When that is not so.
    #[track_caller]
    pub fn assert_settled(&self, handler: &str) {
        let route = self.route(handler);
        let settled = now(route.is_settled());
        assert!(
            matches!(settled, Ok(true)),
            "`{handler}` has unsettled messages ({settled:?}): {} held, {} away\n{}",
            route.stats.held(),
            route.stats.away(),
            self.happened(Some(handler))
        );
    }
}
