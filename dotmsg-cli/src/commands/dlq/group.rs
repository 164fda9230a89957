//! `dlq group`: dead letters by what they have in common.
//!
//! Reasons often differ in a number or a name only. Their *shape* is what is left when runs of digits and quoted parts are
//! taken out, so that one cause is one line.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, ValueEnum};
use dotmsg::clock::Timestamp;
use dotmsg::replay::DeadLetter;
use serde_json::json;

use super::select::{Select, each, given_up_at};
use crate::desk::Desk;
use crate::escape;
use crate::exit::{Exit, Outcome};
use crate::table::Table;
use crate::time;

/// What a line has room for.
const SHOWN: usize = 70;
/// Keys that are counted of a group; beyond it there are "more".
const KEYS: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// The kind of the last failure, and the shape of what it says
    Reason,
    /// The kind of the last failure
    Kind,
    /// The key
    Key,
    /// How often they were replayed
    Replays,
}

#[derive(Debug, Args)]
pub(crate) struct Group {
    /// The route [default: the only one]
    #[arg(value_name = "ROUTE")]
    route: Option<String>,
    #[command(flatten)]
    select: Select,
    /// What they have in common
    #[arg(long, value_enum, default_value_t = By::Reason)]
    by: By,
    /// Also those that were replayed or discarded
    #[arg(long)]
    with_done: bool,
}

/// Dead letters that are alike.
struct Alike {
    letters: u64,
    keys: BTreeSet<Vec<u8>>,
    first: Timestamp,
    last: Timestamp,
    /// One of them, to look at.
    example: (u32, u64),
}

impl Group {
    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        let route = desk.route(self.route.as_deref())?;
        let selection = self.select.read()?;
        let mut groups: BTreeMap<String, Alike> = BTreeMap::new();
        each(&route, &selection, self.with_done, |letter, _| {
            let at = given_up_at(&letter);
            let group = groups
                .entry(name(self.by, &letter))
                .or_insert_with(|| Alike {
                    letters: 0,
                    keys: BTreeSet::new(),
                    first: at,
                    last: at,
                    example: (letter.partition, letter.offset),
                });
            group.letters += 1;
            group.first = group.first.min(at);
            group.last = group.last.max(at);
            if let Some(key) = letter.message.key.filter(|_| group.keys.len() < KEYS) {
                group.keys.insert(key.to_vec());
            }
            Ok(true)
        })
        .await?;
        let mut groups: Vec<(String, Alike)> = groups.into_iter().collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.letters));
        self.print(desk, &groups)?;
        Ok(Exit::Done)
    }

    fn print(&self, desk: &mut Desk<'_>, groups: &[(String, Alike)]) -> Outcome<()> {
        let mut table = Table::new(&["letters", "keys", "first", "last", "example", "alike in"]);
        for (name, group) in groups {
            let (partition, offset) = group.example;
            if desk.json {
                desk.object(&json!({
                    "alike_in": name,
                    "letters": group.letters,
                    "keys": group.keys.len(),
                    "first": time::instant(group.first),
                    "last": time::instant(group.last),
                    "example": { "partition": partition, "offset": offset },
                }))?;
                continue;
            }
            table.row([
                group.letters.to_string(),
                group.keys.len().to_string(),
                time::instant(group.first),
                time::instant(group.last),
                format!("{partition}/{offset}"),
                escape::short(name.as_bytes(), SHOWN),
            ]);
        }
        table.write(&mut *desk.console.out)?;
        if groups.is_empty() {
            desk.note("no dead letters are left")?;
        }
        Ok(())
    }
}

fn name(by: By, letter: &DeadLetter) -> String {
    match by {
        By::Reason => format!("{}: {}", letter.kind, shape(&letter.reason)),
        By::Kind => letter.kind.clone(),
        By::Replays => letter.replays().to_string(),
        By::Key => match &letter.message.key {
            Some(key) => escape::line(key),
            None => "(null)".to_owned(),
        },
    }
}

/// A reason with its runs of digits and its quoted parts taken out.
fn shape(reason: &str) -> String {
    let mut shape = String::with_capacity(reason.len());
    let mut rest = reason.chars().peekable();
    while let Some(character) = rest.next() {
        if character.is_ascii_digit() {
            while rest.next_if(char::is_ascii_digit).is_some() {}
            shape.push('#');
            continue;
        }
        shape.push(character);
        if matches!(character, '"' | '`') {
            let mut ahead = rest.clone();
            if ahead.by_ref().any(|one| one == character) {
                shape.push('…');
                shape.push(character);
                rest = ahead;
            }
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::shape;

    #[test]
    fn reasons_of_one_cause_have_one_shape() {
        assert_eq!(
            shape("no rate for \"USD\" at line 12"),
            "no rate for \"…\" at line #"
        );
        assert_eq!(
            shape("no rate for \"CHF\" at line 7"),
            "no rate for \"…\" at line #"
        );
        assert_eq!(shape("an open \" quote"), "an open \" quote");
        assert_eq!(shape("`a` and `b`"), "`…` and `…`");
    }
}
