//! `dlq show`: everything about one dead letter, or several.

use clap::Args;

use super::letter;
use super::select::{Select, each};
use crate::desk::Desk;
use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The route [default: the only one]
    #[arg(value_name = "ROUTE")]
    route: Option<String>,
    #[command(flatten)]
    select: Select,
    /// Show so many at most
    #[arg(short = 'n', long, value_name = "LETTERS", default_value_t = 10)]
    limit: usize,
    /// Show so much of a payload
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    payload_bytes: usize,
}

impl Show {
    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        if self.select.is_empty() {
            return Err(Failure::usage(
                "which dead letter? Choose by --id, --at, --key, --kind, --reason, --since or --until",
            ));
        }
        let route = desk.route(self.route.as_deref())?;
        let selection = self.select.read()?;
        let mut shown = 0;
        // Whoever asks for one by name wants to see it, done with or not.
        each(&route, &selection, true, |letter, done| {
            match desk.json {
                true => desk.object(&letter::object(&letter, done, true))?,
                false => {
                    if shown > 0 {
                        desk.line("")?;
                    }
                    letter::write(&mut *desk.console.out, &letter, done, self.payload_bytes)?;
                }
            }
            shown += 1;
            Ok(shown < self.limit)
        })
        .await?;
        if shown == 0 {
            desk.note("no dead letter is like that")?;
            return Ok(Exit::Differs);
        }
        Ok(Exit::Done)
    }
}
