//! Log lines as tests see them: level, message and fields of every event on this thread.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::Dispatch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) message: String,
    fields: BTreeMap<&'static str, String>,
}

impl Line {
    fn of(metadata: &Metadata<'_>) -> Self {
        Self {
            level: *metadata.level(),
            message: String::new(),
            fields: BTreeMap::new(),
        }
    }

    /// A field of it or of a span around it, as a reader of the log sees it.
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
    noted: Arc<Mutex<Noted>>,
    _default: DefaultGuard,
}

#[derive(Default)]
struct Noted {
    lines: Vec<Line>,
    spans: Vec<BTreeMap<&'static str, String>>,
    /// The spans that are entered, outermost first.
    entered: Vec<u64>,
}

/// While there is one subscriber only, `tracing` asks that of the thread which comes to a line first whether anybody wants it, and
/// a test beside this one has none: nobody would hear of the line. With a second one it asks all.
pub(crate) static ANOTHER: LazyLock<Dispatch> =
    LazyLock::new(|| Dispatch::new(Noting(Arc::default())));

impl Seen {
    pub(crate) fn new() -> Self {
        LazyLock::force(&ANOTHER);
        let noted = Arc::default();
        let noting = Noting(Arc::clone(&noted));
        Self {
            noted,
            _default: tracing::subscriber::set_default(noting),
        }
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.noted.lock().unwrap().lines.clone()
    }

    /// Those that begin with this.
    pub(crate) fn of(&self, message: &str) -> Vec<Line> {
        let mut lines = self.lines();
        lines.retain(|line| line.message.starts_with(message));
        lines
    }
}

struct Noting(Arc<Mutex<Noted>>);

impl Subscriber for Noting {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("dotmsg_core")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line::of(span.metadata());
        span.record(&mut line);
        let spans = &mut self.0.lock().unwrap().spans;
        spans.push(line.fields);
        Id::from_u64(spans.len() as u64)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::of(event.metadata());
        let mut noted = self.0.lock().unwrap();
        for span in &noted.entered {
            line.fields.extend(noted.spans[*span as usize - 1].clone());
        }
        event.record(&mut line);
        noted.lines.push(line);
    }

    fn enter(&self, span: &Id) {
        self.0.lock().unwrap().entered.push(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        let entered = &mut self.0.lock().unwrap().entered;
        let last = entered.iter().rposition(|one| *one == span.into_u64());
        entered.remove(last.expect("it was entered"));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
}
