//! The command line, parsed by hand: three switches and a list of names need no parser crate.

/// What the program was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Measure and report.
    Measure(Options),
    /// Name every line, measuring nothing.
    List,
    /// Say how to call it.
    Help,
    /// Child role: do one piece of work and print its outcome.
    Workload {
        /// One of [`crate::workload::all`].
        name: String,
        /// How many messages (or records) to work through.
        messages: u64,
        /// How many to work through beforehand, in a run of its own that is thrown away.
        warm_up: u64,
    },
}

/// How to measure and report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// One JSON object per line in place of the table.
    pub(crate) json: bool,
    /// A tenth of the messages and a single round: for trying out, not for `docs/benchmarks.md`.
    pub(crate) quick: bool,
    /// A missed bar ends in exit code 1.
    pub(crate) enforce: bool,
    /// Only lines with one of these names, or below it (`peer` takes `peer.bytes.instructions`). Empty: all.
    pub(crate) names: Vec<String>,
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// A sentence that names the argument that is not understood.
pub(crate) fn parse(arguments: &[String]) -> Result<Command, String> {
    if arguments.first().is_some_and(|first| first == "workload") {
        return parse_workload(&arguments[1..]);
    }
    let mut options = Options::default();
    for argument in arguments {
        match argument.as_str() {
            "--json" => options.json = true,
            "--quick" => options.quick = true,
            "--enforce" => options.enforce = true,
            "--list" => return Ok(Command::List),
            "--help" | "-h" => return Ok(Command::Help),
            flag if flag.starts_with('-') => {
                return Err(format!(
                    "unknown option `{flag}`: there are --json, --quick, --enforce, --list and --help"
                ));
            }
            name => options.names.push(name.to_owned()),
        }
    }
    Ok(Command::Measure(options))
}

fn parse_workload(arguments: &[String]) -> Result<Command, String> {
    let [name, messages, warm_up] = arguments else {
        return Err("`workload` takes a name, a message count and a warm-up count".to_owned());
    };
    let count = |text: &String| {
        text.parse::<u64>()
            .map_err(|_| format!("`{text}` is not a count of messages"))
    };
    Ok(Command::Workload {
        name: name.clone(),
        messages: count(messages)?,
        warm_up: count(warm_up)?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Command, Options, parse};

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn switches_and_names_in_any_order() {
        let expected = Options {
            json: true,
            quick: true,
            enforce: false,
            names: words("bytes peer.json"),
        };
        assert_eq!(
            parse(&words("bytes --json peer.json --quick")),
            Ok(Command::Measure(expected))
        );
    }

    #[test]
    fn an_unknown_option_is_named() {
        assert!(parse(&words("--fast")).unwrap_err().contains("`--fast`"));
    }

    #[test]
    fn a_workload_needs_counts() {
        assert!(
            parse(&words("workload bytes many 0"))
                .unwrap_err()
                .contains("`many`")
        );
        let expected = Command::Workload {
            name: "bytes".to_owned(),
            messages: 20,
            warm_up: 5,
        };
        assert_eq!(parse(&words("workload bytes 20 5")), Ok(expected));
    }
}
