//! Which dead letters a replay takes: all conditions must hold.

use std::fmt;

use bytes::Bytes;

use super::DeadLetter;

type Condition = Box<dyn Fn(&DeadLetter) -> bool + Send + Sync>;

/// Conditions on a dead letter; none means every one.
#[derive(Default)]
pub(super) struct Filter(Vec<Condition>);

impl Filter {
    pub(super) fn add(&mut self, condition: impl Fn(&DeadLetter) -> bool + Send + Sync + 'static) {
        self.0.push(Box::new(condition));
    }

    pub(super) fn kind(&mut self, kind: String) {
        self.add(move |letter| letter.kind == kind);
    }

    pub(super) fn key(&mut self, key: Option<Bytes>) {
        self.add(move |letter| letter.message.key == key);
    }

    pub(super) fn id(&mut self, id: Bytes) {
        self.add(move |letter| *letter.id() == *id);
    }

    pub(super) fn takes(&self, letter: &DeadLetter) -> bool {
        self.0.iter().all(|condition| condition(letter))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} conditions", self.0.len())
    }
}
