//! `dlq export`: dead letters in full, as lines of JSON.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::letter;
use super::select::{Select, each};
use crate::desk::Desk;
use crate::escape;
use crate::exit::{Exit, Outcome};

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The route [default: the only one]
    #[arg(value_name = "ROUTE")]
    route: Option<String>,
    #[command(flatten)]
    select: Select,
    /// Also those that were replayed or discarded
    #[arg(long)]
    with_done: bool,
    /// To this file, which must not exist [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The error of the system names no file.
fn create(path: &Path) -> io::Result<File> {
    File::create_new(path).map_err(|error| {
        io::Error::new(error.kind(), format!("create {}: {error}", path.display()))
    })
}

impl Export {
    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        let route = desk.route(self.route.as_deref())?;
        let selection = self.select.read()?;
        let mut file = match &self.output {
            Some(path) => Some(BufWriter::new(create(path)?)),
            None => None,
        };
        let mut letters = 0_u64;
        each(&route, &selection, self.with_done, |letter, done| {
            let line = escape::json(&letter::object(&letter, done, true).to_string());
            match &mut file {
                Some(file) => writeln!(file, "{line}")?,
                None => writeln!(desk.console.out, "{line}")?,
            }
            letters += 1;
            Ok(true)
        })
        .await?;
        if let Some(file) = file {
            let file = file
                .into_inner()
                .map_err(std::io::IntoInnerError::into_error)?;
            file.sync_all()?;
        }
        desk.note(format!("{letters} exported"))?;
        Ok(Exit::Done)
    }
}
