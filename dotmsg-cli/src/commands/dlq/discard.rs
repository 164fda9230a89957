//! `dlq discard`: dead letters that are given up.

use clap::Args;
use dotmsg::app::RouteHandle;
use dotmsg::replay::Replay;
use serde_json::json;

use super::replay::count;
use super::select::{Select, Selection};
use crate::desk::Desk;
use crate::exit::{Exit, Outcome};

#[derive(Debug, Args)]
pub(crate) struct Discard {
    /// The route [default: the only one]
    #[arg(value_name = "ROUTE")]
    route: Option<String>,
    #[command(flatten)]
    select: Select,
    /// All that are left
    #[arg(long)]
    all: bool,
    /// Only say how many there are
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Discard {
    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        let selection = self.select.read_for_a_change(self.all)?;
        let route = desk.route(self.route.as_deref())?;
        let preview = discard(&route, &selection).dry_run(true).run().await?;
        let letters = preview.discarded;
        if self.dry_run {
            print(desk, letters, true)?;
            return Ok(Exit::Done);
        }
        if letters == 0 {
            print(desk, 0, false)?;
            return Ok(Exit::Done);
        }
        let topic = &route.topology.dead_letter;
        desk.confirm(&format!("Discard {} of {topic}?", count(letters)))?;
        // No more than was agreed to, should others have come meanwhile.
        let report = discard(&route, &selection).limit(letters).run().await?;
        print(desk, report.discarded, false)?;
        Ok(Exit::Done)
    }
}

fn discard(route: &RouteHandle, selection: &Selection) -> Replay {
    let selection = selection.clone();
    let chosen = move |letter: &_| selection.takes(letter);
    route.replay().filter(chosen).discard()
}

fn print(desk: &mut Desk<'_>, letters: u64, dry: bool) -> Outcome<()> {
    match (desk.json, dry) {
        (true, _) => desk.object(&json!({ "discarded": letters, "dry_run": dry })),
        (false, true) => desk.line(format!("dry run: {} would be discarded", count(letters))),
        (false, false) => desk.line(format!("{} discarded", count(letters))),
    }
}
