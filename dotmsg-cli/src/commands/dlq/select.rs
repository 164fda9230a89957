//! Which dead letters a command is about: all conditions must hold; of one that is given several times, one of its values.

use std::ffi::OsString;

use clap::Args;
use dotmsg::Bytes;
use dotmsg::app::RouteHandle;
use dotmsg::clock::Timestamp;
use dotmsg::replay::{DeadLetter, Done};

use crate::commands::offsets::place;
use crate::commands::produce::bytes;
use crate::exit::{Failure, Outcome};
use crate::time;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Which dead letters")]
pub(crate) struct Select {
    /// Of this identity (header dotmsg-id, else topic/partition/offset of the origin); may be repeated
    #[arg(long)]
    id: Vec<OsString>,
    /// At this place of the dead-letter topic; may be repeated
    #[arg(long, value_name = "PARTITION/OFFSET", value_parser = place)]
    at: Vec<(u32, u64)>,
    /// Of this key; may be repeated
    #[arg(long)]
    key: Vec<OsString>,
    /// Whose last failure was of this kind; may be repeated
    #[arg(long)]
    kind: Vec<String>,
    /// Whose last failure says this, somewhere
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Given up at this time or later: an age such as 2h, or RFC 3339
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Given up before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// [`Select`], with its texts read.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    ids: Vec<Bytes>,
    places: Vec<(u32, u64)>,
    keys: Vec<Bytes>,
    kinds: Vec<String>,
    reason: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Select {
    /// Whether it leaves nothing out.
    pub(crate) fn is_empty(&self) -> bool {
        self.id.is_empty()
            && self.at.is_empty()
            && self.key.is_empty()
            && self.kind.is_empty()
            && self.reason.is_none()
            && self.since.is_none()
            && self.until.is_none()
    }

    pub(crate) fn read(&self) -> Outcome<Selection> {
        let now = time::now();
        let moment = |text: &Option<String>| match text {
            Some(text) => time::parse(text, now).map(Some).map_err(Failure::Usage),
            None => Ok(None),
        };
        Ok(Selection {
            ids: self.id.iter().map(bytes).collect(),
            places: self.at.clone(),
            keys: self.key.iter().map(bytes).collect(),
            kinds: self.kind.clone(),
            reason: self.reason.clone(),
            since: moment(&self.since)?,
            until: moment(&self.until)?,
        })
    }

    /// The same for what changes something: that all are meant must be said.
    pub(crate) fn read_for_a_change(&self, all: bool) -> Outcome<Selection> {
        match (self.is_empty(), all) {
            (true, false) => Err(Failure::usage(
                "which dead letters? Choose by --id, --at, --key, --kind, --reason, --since or --until, or say --all",
            )),
            (false, true) => Err(Failure::usage("--all leaves no room for conditions")),
            _ => self.read(),
        }
    }
}

impl Selection {
    pub(crate) fn takes(&self, letter: &DeadLetter) -> bool {
        let place = (letter.partition, letter.offset);
        let key = letter.message.key.as_ref();
        let at = given_up_at(letter);
        one_of(&self.ids, |id| **id == *letter.id())
            && one_of(&self.places, |one| *one == place)
            && one_of(&self.keys, |one| Some(one) == key)
            && one_of(&self.kinds, |kind| *kind == letter.kind)
            && self
                .reason
                .as_ref()
                .is_none_or(|text| letter.reason.contains(&**text))
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
    }
}

/// Whether one of them fits; or there are none, so that nothing is asked for.
fn one_of<T>(all: &[T], fits: impl FnMut(&T) -> bool) -> bool {
    all.is_empty() || all.iter().any(fits)
}

/// When it was given up.
pub(crate) fn given_up_at(letter: &DeadLetter) -> Timestamp {
    letter.last_failure.unwrap_or(letter.appended_at)
}

/// Calls `each` with the letters that are chosen, in the order of their topic, and whether they are done with; those that are
/// only when `with_done` says so. It ends when `each` says so.
pub(crate) async fn each(
    route: &RouteHandle,
    selection: &Selection,
    with_done: bool,
    mut each: impl FnMut(DeadLetter, bool) -> Outcome<bool>,
) -> Outcome<()> {
    let done = Done::read(&*route.backend, &route.topology).await?;
    let mut letters = route.dead_letters().await?;
    while let Some(letter) = letters.next().await? {
        let is_done = done.has(&letter);
        let shown = (with_done || !is_done) && selection.takes(&letter);
        if shown && !each(letter, is_done)? {
            break;
        }
    }
    Ok(())
}
