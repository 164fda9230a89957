//! Publishing the input, with a note of how far it came.
//!
//! Rows go out in batches, each confirmed before the next, so that messages of one key lie in the log in the order of their
//! rows. After each batch the note is written; whoever starts again continues behind it. A batch in flight at a kill is
//! published again, its messages with the same ids.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dotmsg::backend::{Admin, PublishOutcome, Retention, TopicDescription, TopicSpec};
use dotmsg::{Message, Publisher};
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::handlers::Flight;
use crate::input::{Identity, Input};
use crate::journal::{named, whole_lines};
use crate::progress::Progress;

/// Partitions of the topics: shared evenly by 1, 2, 3, 4, 6 or 12 processes.
pub(crate) const PARTITIONS: u32 = 12;
/// Messages per batch: enough to share one fsync, few enough that a kill repeats little.
const BATCH: usize = 2_000;
/// How often a batch is tried before the publisher gives up.
const TRIES: u32 = 10;
/// How long it waits between two tries, and for another publisher to end.
const PAUSE: Duration = Duration::from_millis(100);

/// How far publishing came, in which topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    topic: String,
    /// Tells a topic from one that is created again under its name, where the backend can.
    identity: String,
    /// Where the rows come from; `None`: nothing is published, or before inputs were noted.
    input: Option<Identity>,
    /// Every row up to this one is published.
    pub(crate) rows: u64,
    /// There are no more rows.
    pub(crate) complete: bool,
}

impl Published {
    fn nothing(topic: &TopicDescription) -> Self {
        Self {
            topic: topic.name.clone(),
            identity: topic.identity.clone(),
            ..Self::default()
        }
    }

    /// The last note about this topic in the state directory.
    pub(crate) fn read(state: &Path, topic: &TopicDescription) -> io::Result<Self> {
        let path = path(state);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(last(&text, topic)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::nothing(topic)),
            Err(error) => Err(named(&path, &error)),
        }
    }
}

/// Refuses notes of another input, whatever topic they are about: the ledger beside them counts rows by their number.
fn same_input(notes: &str, state: &Path, input: &Input<'_>) -> Result<(), Failure> {
    let mut inputs = whole(notes).filter_map(|note| note.input);
    if inputs.all(|noted| noted == input.identity) {
        return Ok(());
    }
    let (state, path) = (state.display(), input.path.display());
    Err(format!(
        "{path} is not the input that {state} has notes of: give that one again, \
         or another --backend and --state, or delete the notes and their log"
    )
    .into())
}

/// Publishes what is not published yet. When another process is at it, waits for its end and does the rest, if any.
/// Returns how many rows this process published.
pub(crate) async fn publish(
    publisher: &Publisher,
    topic: &TopicDescription,
    input: &Input<'_>,
    state: &Path,
    progress: &Progress,
) -> Result<u64, Failure> {
    let mut notes = lock(&path(state)).await?;
    let mut text = String::new();
    notes.read_to_string(&mut text)?;
    same_input(&text, state, input)?;
    let mut at = last(&text, topic);
    progress.published(at.rows);
    if at.input.is_none() {
        // Before the first row: from then on, the log is about this input.
        at.input = Some(input.identity);
        append(&mut notes, &at)?;
    }
    let before = at.rows;
    let mut flights = input.flights()?.skip(usize::try_from(before)?);
    while !at.complete {
        let batch: Vec<Flight> = flights.by_ref().take(BATCH).collect::<Result<_, _>>()?;
        at.complete = batch.len() < BATCH;
        at.rows += batch.len() as u64;
        let messages = batch.iter().map(message).collect::<Result<_, _>>()?;
        confirmed(publisher, messages).await?;
        append(&mut notes, &at)?;
        progress.published(at.rows);
    }
    Ok(at.rows - before)
}

fn message(flight: &Flight) -> Result<Message, Failure> {
    let message = Message::new(serde_json::to_vec(flight)?).with_id(flight.row.to_string());
    Ok(match &flight.tail {
        Some(tail) => message.with_key(tail.clone()),
        None => message,
    })
}

/// Publishes messages until each is confirmed. What is not known to be appended is tried again, with the same id.
async fn confirmed(publisher: &Publisher, mut messages: Vec<Message>) -> Result<(), Failure> {
    for attempt in 1.. {
        let outcomes = publisher.publish_all("departures", messages.clone()).await;
        let mut left = Vec::new();
        for (message, outcome) in messages.into_iter().zip(outcomes) {
            match outcome {
                PublishOutcome::Ok(_) => {}
                PublishOutcome::Failed(error) | PublishOutcome::Unknown(error)
                    if error.is_transient() && attempt < TRIES =>
                {
                    left.push(message);
                }
                PublishOutcome::Failed(error) | PublishOutcome::Unknown(error) => {
                    return Err(error.into());
                }
            }
        }
        if left.is_empty() {
            break;
        }
        messages = left;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Creates the topics that exist before any handler runs, and describes `departures`.
pub(crate) async fn declare(admin: &dyn Admin, prefix: &str) -> Result<TopicDescription, Failure> {
    for topic in ["departures", "miles"] {
        let spec = TopicSpec {
            name: format!("{prefix}{topic}"),
            partitions: PARTITIONS,
            retention: Retention::AsBackend,
        };
        if admin.topic(&spec.name).await?.is_none() {
            admin.create_topic(spec).await?;
        }
    }
    let name = format!("{prefix}departures");
    let topic = admin.topic(&name).await?;
    topic.ok_or_else(|| format!("the topic {name} was created and is not there").into())
}

/// The notes, locked: one process publishes at a time. The system drops the lock with the process.
async fn lock(path: &PathBuf) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).open(path);
    let file = file.map_err(|error| named(path, &error))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
            Err(TryLockError::Error(error)) => return Err(named(path, &error)),
        }
    }
}

fn path(state: &Path) -> PathBuf {
    state.join("published.jsonl")
}

/// The last whole note about this topic.
fn last(notes: &str, topic: &TopicDescription) -> Published {
    let about = |note: &Published| note.topic == topic.name && note.identity == topic.identity;
    let note = whole(notes).rfind(about);
    note.unwrap_or_else(|| Published::nothing(topic))
}

/// The whole notes; a line that a kill tore is none.
fn whole(notes: &str) -> impl DoubleEndedIterator<Item = Published> {
    whole_lines(notes).filter_map(|line| serde_json::from_str(line).ok())
}

/// Appends a note in one call, on a line of its own also when a kill tore the last one.
fn append(file: &mut File, note: &Published) -> io::Result<()> {
    let line = format!("\n{}\n", serde_json::to_string(note)?);
    file.write_all(line.as_bytes())
}
