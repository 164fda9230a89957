//! The terminal session of docs/cli.md, replayed.
//!
//! `cat` shows the files of the session: what the page shows is written before what follows. Everything else runs, and has to
//! say what the page says, where `<time>` is any moment.

use std::path::Path;

use dotmsg_cli::Console;

use super::support::{Dir, Ended, dotmsg};

#[path = "../../examples/billing.rs"]
mod billing;

const PAGE: &str = include_str!("../../../docs/cli.md");

/// A command of the page, and what it says there.
struct Step {
    command: String,
    says: Vec<String>,
}

fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut in_session = false;
    for line in PAGE.lines() {
        match (line, in_session) {
            ("```console", _) => in_session = true,
            (_, false) => {}
            ("```", true) => in_session = false,
            (line, true) => match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step {
                    command: command.to_owned(),
                    says: Vec::new(),
                }),
                None => steps
                    .last_mut()
                    .expect("a command")
                    .says
                    .push(line.to_owned()),
            },
        }
    }
    steps
}

/// Whether a line is what the page has, where `<time>` stands for one word.
fn is_like(line: &str, page: &str) -> bool {
    let mut words = line.split(' ');
    let alike = page.split(' ').all(|expected| {
        words.next().is_some_and(|word| match expected {
            "<time>" => word.len() == "2026-01-31T12:00:00.000Z".len() && word.ends_with('Z'),
            expected => word == expected,
        })
    });
    alike && words.next().is_none()
}

/// Columns are as wide as what they hold, and a placeholder is not as wide as a time.
fn squeezed(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

async fn run(dir: &Path, command: &str, last: i32) -> Ended {
    let (command, input) = match command.split_once(" < ") {
        Some((command, file)) => (command, std::fs::read(dir.join(file)).unwrap()),
        None => (command, Vec::new()),
    };
    let words: Vec<&str> = command.split(' ').collect();
    match words[0] {
        "dotmsg" => dotmsg(dir, &words[1..], &input),
        "billing" => {
            let (mut console, captured) = Console::captured(input);
            let args = words[1..].iter().map(Into::into);
            let exit = billing::billing(args, &mut console).await.unwrap();
            Ended {
                code: exit.code().into(),
                out: captured.out(),
                err: captured.err(),
            }
        }
        "echo" => Ended {
            code: 0,
            out: format!("{last}\n"),
            err: String::new(),
        },
        "cat" => panic!("cat is what writes the files"),
        other => panic!("the session has no {other}"),
    }
}

#[test]
fn the_session_of_the_page_is_what_happens() {
    let dir = Dir::new();
    // The service reads its files from the current directory, which no other test depends on.
    std::env::set_current_dir(dir.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut last = 0;
    let mut wrong = String::new();
    let steps = steps();
    assert!(steps.len() > 10, "the page has a session");
    for step in steps {
        if let Some(file) = step.command.strip_prefix("cat ") {
            dir.write(file, &(step.says.join("\n") + "\n"));
            continue;
        }
        let ended = runtime.block_on(run(dir.path(), &step.command, last));
        last = ended.code;
        let said = format!("{}{}", ended.out, ended.err);
        let said: Vec<&str> = said.lines().collect();
        let alike = said.len() == step.says.len()
            && said
                .iter()
                .zip(&step.says)
                .all(|(said, page)| is_like(&squeezed(said), &squeezed(page)));
        if !alike {
            let (command, said) = (&step.command, said.join("\n"));
            wrong += &format!("$ {command}\n{said}\n");
        }
    }
    assert!(wrong.is_empty(), "the page says something else:\n{wrong}");
}
