//! Waiting for the end: every published row is settled, and what became of it is noted.
//!
//! The order matters. Once publishing is over, a settled `departures` adds nothing more to `miles` and to the dead letters;
//! so when these are settled after it, all is.

use std::path::Path;
use std::time::Duration;

use dotmsg::app::{AppHandle, RouteHandle};
use dotmsg::backend::TopicDescription;
use tokio::time::Instant;

use crate::Failure;
use crate::progress::Progress;
use crate::publish::Published;

/// The shortest pause between two looks at the positions.
const LOOK: Duration = Duration::from_millis(20);
/// And how many times longer than the look itself it is: a broker has better things to do than to be asked all the time.
const REST: u32 = 5;
/// A publisher that left no note that it is complete, and published nothing for this long, is taken to be gone.
const QUIET: Duration = Duration::from_secs(10);

/// Waits until every published row is settled. `alone`: no other process can publish meanwhile.
pub(crate) async fn settled(
    app: &AppHandle,
    topic: &TopicDescription,
    state: &Path,
    (alone, progress): (bool, &Progress),
) -> Result<(), Failure> {
    let departures = route(app, "flight")?;
    let mut growth = Growth::default();
    let mut told = false;
    loop {
        let looked = Instant::now();
        // Read before the positions: what is published after this is in the next note.
        let note = Published::read(state, topic)?;
        let mut over = note.complete;
        if !over {
            let end = end(departures, topic).await;
            let end = unless_away(end, growth.end)?;
            if alone && end == 0 {
                return Err(
                    "nothing is published yet: --role publish first, or leave --role out".into(),
                );
            }
            over = alone || growth.over(end);
            if !std::mem::replace(&mut told, true) {
                eprintln!("flights: {}", waits_for(alone, end));
            }
        }
        progress.published(note.rows);
        if over && is_settled(departures).await? {
            break;
        }
        rest_after(looked).await;
    }
    for name in ["total", "dead"] {
        let route = route(app, name)?;
        let mut looked = Instant::now();
        while !is_settled(route).await? {
            rest_after(looked).await;
            looked = Instant::now();
        }
    }
    Ok(())
}

/// The pause after a look that began then.
async fn rest_after(looked: Instant) {
    tokio::time::sleep(LOOK.max(looked.elapsed() * REST)).await;
}

fn route<'a>(app: &'a AppHandle, handler: &str) -> Result<&'a RouteHandle, Failure> {
    let route = app.route(handler);
    route.ok_or_else(|| format!("no route of the handler {handler}").into())
}

/// A look that fails because a broker is away is none: the handlers wait for it too.
fn unless_away<T>(look: dotmsg::Result<T>, otherwise: T) -> Result<T, Failure> {
    match look {
        Err(error) if error.is_transient() => Ok(otherwise),
        look => Ok(look?),
    }
}

async fn is_settled(route: &RouteHandle) -> Result<bool, Failure> {
    unless_away(route.is_settled().await, false)
}

/// What a process that only handles finds before publishing is complete.
fn waits_for(alone: bool, end: u64) -> &'static str {
    match (alone, end) {
        (true, _) => "not everything is published; handling what is there (--role publish goes on)",
        (false, 0) => "nothing is published yet; waiting for a process with --role publish",
        (false, _) => "not everything is published; waiting for the rest too",
    }
}

/// How many records `departures` has ever held.
async fn end(route: &RouteHandle, topic: &TopicDescription) -> dotmsg::Result<u64> {
    let admin = route.backend.admin();
    let mut end = 0;
    for partition in 0..topic.partitions {
        end += admin.offsets(&topic.name, partition).await?.end;
    }
    Ok(end)
}

/// Whether `departures` still grows, for when no note says that it is complete.
#[derive(Default)]
struct Growth {
    end: u64,
    since: Option<Instant>,
}

impl Growth {
    /// It held something and did not grow for a while. An empty topic is one whose publisher has yet to start.
    fn over(&mut self, end: u64) -> bool {
        if end != self.end {
            self.end = end;
            self.since = Some(Instant::now());
        }
        self.since.is_some_and(|since| since.elapsed() >= QUIET)
    }
}
