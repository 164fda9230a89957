//! Tests of the layer with a span that notes what happens to it.

use std::future::poll_fn;
use std::sync::Mutex;

use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::delivery::{Sent, SpanEnd, Story};
use crate::message::{Message, TraceParent};
use crate::middleware::testing::{delivery, transient};

type Notes = Arc<Mutex<Vec<String>>>;

fn note(notes: &Notes, text: impl Into<String>) {
    notes.lock().unwrap().push(text.into());
}

/// Notes when it is entered and how it ends; `calls` is how often it calls what runs within.
#[derive(Debug)]
struct Noting {
    notes: Notes,
    calls: u32,
}

impl Span for Noting {
    fn within(&self, run: &mut dyn FnMut()) {
        note(&self.notes, "in");
        for _ in 0..self.calls {
            run();
        }
        note(&self.notes, "out");
    }

    fn end(self: Box<Self>, end: SpanEnd<'_>) {
        note(&self.notes, format!("{end:?}"));
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        note(&self.notes, "over");
    }
}

/// The story of a delivery with such spans.
#[derive(Debug)]
struct Noted {
    notes: Notes,
    calls: u32,
}

impl Story for Noted {
    fn origin(&self) -> TraceParent {
        unreachable!("a call asks for no origin")
    }

    fn call(&self, _: &Delivery) -> Box<dyn Span> {
        let (notes, calls) = (Arc::clone(&self.notes), self.calls);
        Box::new(Noting { notes, calls })
    }

    fn send(&self, _: &str, _: &mut Message, _: Sent<'_>) -> Box<dyn Span> {
        unreachable!("a call sends nothing")
    }
}

#[derive(Debug)]
struct Tracer;

impl RouteTracer for Tracer {
    fn follow(&self, _: &Delivery) -> Option<Arc<dyn Story>> {
        unreachable!("whoever calls the layer has asked")
    }

    fn batch(&self, _: &[Delivery]) -> Option<Box<dyn Span>> {
        None
    }
}

/// What is noted of a handler that is pending once.
async fn noted(
    calls: u32,
    result: Result<(), ()>,
    tracer: Option<Arc<dyn RouteTracer>>,
) -> Vec<String> {
    let notes = Notes::default();
    let (inside, handled) = (Arc::clone(&notes), Arc::clone(&notes));
    let service = SpansLayer::new(tracer).layer(service_fn(move |_: Delivery| {
        note(&inside, "called");
        let handled = Arc::clone(&handled);
        let mut polls = 0;
        poll_fn(move |cx| {
            polls += 1;
            note(&handled, format!("poll {polls}"));
            if polls == 1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(
                result
                    .map(|()| Returned::default())
                    .map_err(|()| transient("down")),
            )
        })
    }));
    let story = Noted {
        notes: Arc::clone(&notes),
        calls,
    };
    let traced = delivery(41).traced(Arc::new(story));
    let ended = service.oneshot(traced).await;
    assert_eq!(ended.is_ok(), result.is_ok());
    let mut notes = notes.lock().unwrap();
    std::mem::take(&mut notes)
}

#[tokio::test]
async fn a_call_and_each_of_its_polls_are_within_and_its_end_is_told() {
    let notes = noted(1, Ok(()), Some(Arc::new(Tracer))).await;
    let polled = [
        "in", "called", "out", "in", "poll 1", "out", "in", "poll 2", "out",
    ];
    assert_eq!(notes[..9], polled);
    assert_eq!(notes[9..11], ["Done", "over"]);
    let notes = noted(1, Err(()), Some(Arc::new(Tracer))).await;
    let failed = SpanEnd::Failed {
        kind: "handler",
        message: "down",
    };
    assert!(notes.contains(&format!("{failed:?}")), "{notes:?}");
}

#[tokio::test]
async fn a_span_that_lets_nothing_run_costs_no_call() {
    let notes = noted(0, Ok(()), Some(Arc::new(Tracer))).await;
    assert_eq!(notes[..3], ["in", "out", "called"]);
    assert!(notes.contains(&"Done".to_owned()), "{notes:?}");
}

#[tokio::test]
async fn a_span_that_calls_again_runs_nothing_twice() {
    let once = noted(1, Ok(()), Some(Arc::new(Tracer))).await;
    let twice = noted(2, Ok(()), Some(Arc::new(Tracer))).await;
    assert_eq!(twice, once);
}

#[tokio::test]
async fn without_a_tracer_it_passes_on() {
    let notes = noted(1, Ok(()), None).await;
    assert_eq!(notes, ["called", "poll 1", "poll 2"]);
}
