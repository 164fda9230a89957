//! What a service calls its commands: the words in front of them, the program first (`billing admin`).
//!
//! A script of completions belongs to a program, so it has to be for these words and not for a name of this crate. What else the
//! program understands is not known here: completed is what stands behind the words.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory};

use crate::args::Embedded;

/// The words, without the directory of the program.
#[derive(Debug)]
pub(crate) struct Called(Vec<String>);

impl Called {
    /// As the first argument says it.
    pub(crate) fn by(first: Option<&OsString>) -> Self {
        let name = first.and_then(|first| Path::new(first).file_name());
        let name = name.unwrap_or(OsStr::new("")).to_string_lossy();
        Self(name.split_whitespace().map(str::to_owned).collect())
    }

    /// The command line that the program offers, each word a command of the one in front of it.
    pub(crate) fn description(&self) -> Command {
        let commands = Embedded::command();
        match &*self.0 {
            [] => commands,
            [program] => commands.name(program.clone()),
            [outer @ .., last] => {
                let commands = with_help(commands).name(last.clone());
                outer.iter().rfold(commands, |inner, word| {
                    // The program may have another idea of help, or none.
                    let outer = Command::new(word.clone()).subcommand(inner);
                    outer.disable_help_flag(true).disable_help_subcommand(true)
                })
            }
        }
    }
}

/// Help that stays when it is switched off further out, which is handed down.
fn with_help(commands: Command) -> Command {
    let names: Vec<String> = commands
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    let flag = Arg::new("help").short('h').long("help").global(true);
    let command = Command::new("help").about("Print the help of a command");
    commands
        .arg(flag.action(ArgAction::Help).help("Print help"))
        .subcommand(command.subcommands(names.into_iter().map(Command::new)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(first: &str) -> Called {
        Called::by(Some(&first.into()))
    }

    #[test]
    fn the_words_are_commands_of_each_other_and_the_program_is_the_first() {
        let description = called("/opt/our apps/billing admin").description();
        assert_eq!(description.get_name(), "billing");
        let admin = description.find_subcommand("admin").unwrap();
        assert!(admin.find_subcommand("dlq").is_some());
        assert!(description.find_subcommand("dlq").is_none());
        assert_eq!(called("./billing").description().get_name(), "billing");
        assert!(called("").description().find_subcommand("dlq").is_some());
    }

    #[test]
    fn the_description_is_a_sound_one() {
        for name in ["", "billing", "billing admin", "shop ops queue"] {
            called(name).description().debug_assert();
        }
    }
}
