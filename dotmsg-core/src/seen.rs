//! Log lines as tests see them: message and fields of every event on this thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) message: String,
    fields: BTreeMap<&'static str, String>,
}

impl Line {
    /// A field as a reader of the log sees it.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.note(field, format!("{value:?}"));
    }
}

impl Line {
    fn note(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => drop(self.fields.insert(name, value)),
        }
    }
}

/// What this thread logs while it lives. Tests with a runtime of one thread see their tasks' lines too.
pub(crate) struct Seen {
    lines: Arc<Mutex<Vec<Line>>>,
    _default: DefaultGuard,
}

impl Seen {
    pub(crate) fn new() -> Self {
        let lines = Arc::default();
        let noting = Noting(Arc::clone(&lines));
        Self {
            lines,
            _default: tracing::subscriber::set_default(noting),
        }
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap().clone()
    }
}

struct Noting(Arc<Mutex<Vec<Line>>>);

impl Subscriber for Noting {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("dotmsg_core")
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn event(&self, event: &Event<'_>) {
        let mut line = Line {
            message: String::new(),
            fields: BTreeMap::new(),
        };
        event.record(&mut line);
        self.0.lock().unwrap().push(line);
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
