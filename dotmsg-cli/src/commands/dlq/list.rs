//! `dlq list`: a line for each dead letter.

use clap::Args;

use super::letter;
use super::select::{Select, each, given_up_at};
use crate::desk::Desk;
use crate::escape;
use crate::exit::{Exit, Outcome};
use crate::table::Table;
use crate::time;

/// What a line has room for of a reason, and of an id.
const REASON: usize = 60;
const ID: usize = 40;

#[derive(Debug, Args)]
pub(crate) struct List {
    /// The route [default: the only one]
    #[arg(value_name = "ROUTE")]
    route: Option<String>,
    #[command(flatten)]
    select: Select,
    /// Also those that were replayed or discarded
    #[arg(long)]
    with_done: bool,
    /// Print so many at most
    #[arg(short = 'n', long, value_name = "LETTERS", default_value_t = 100)]
    limit: usize,
}

impl List {
    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        let route = desk.route(self.route.as_deref())?;
        let selection = self.select.read()?;
        let mut table = Table::new(&[
            "place",
            "id",
            "key",
            "kind",
            "attempts",
            "replays",
            "given up at",
            "reason",
        ]);
        let (mut printed, mut more) = (0, 0_u64);
        let mut some_done = false;
        each(&route, &selection, self.with_done, |letter, done| {
            if printed == self.limit {
                more += 1;
                return Ok(true);
            }
            printed += 1;
            if desk.json {
                desk.object(&letter::object(&letter, done, false))?;
                return Ok(true);
            }
            some_done |= done;
            let mark = if done { "*" } else { "" };
            let key = letter.message.key.as_ref();
            table.row([
                format!("{}/{}{mark}", letter.partition, letter.offset),
                escape::short(&letter.id(), ID),
                key.map_or("(null)".into(), |key| escape::short(key, ID)),
                escape::line(letter.kind.as_bytes()),
                letter.attempts().to_string(),
                letter.replays().to_string(),
                time::instant(given_up_at(&letter)),
                escape::short(letter.reason.as_bytes(), REASON),
            ]);
            Ok(true)
        })
        .await?;
        table.write(&mut *desk.console.out)?;
        if some_done {
            desk.note("* replayed or discarded")?;
        }
        if more > 0 {
            desk.note(format!("{more} more: say --limit, or choose"))?;
        }
        if printed == 0 {
            desk.note("no dead letters are left")?;
        }
        Ok(Exit::Done)
    }
}
