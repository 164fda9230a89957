//! `config`: every key with its value and where that comes from.

use clap::Args;
use dotmsg::config::Explained;
use serde_json::json;

use crate::console::Console;
use crate::escape;
use crate::exit::{Exit, Outcome};

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Leave out what is at its default
    #[arg(long)]
    given: bool,
}

impl Show {
    pub(crate) fn run(&self, explained: &Explained, json: bool, console: &mut Console) -> Outcome {
        let mut shown = explained.clone();
        if self.given {
            shown = shown.without_defaults();
        }
        match json {
            true => {
                let text = json!(shown).to_string();
                writeln!(console.out, "{}", escape::json(&text))?;
            }
            false => write!(console.out, "{}", escape::lines(&shown.to_string()))?,
        }
        console.out.flush()?;
        Ok(Exit::Done)
    }
}
