//! A directory with a configuration, the binary run in it, and a service that gives everything up.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dotmsg::app::RouteHandle;
#[cfg(feature = "kafka")]
use dotmsg::clock::{Clock, SystemClock};
use dotmsg::handler::HandlerError;
use dotmsg::{App, Config};
use serde_json::Value;

/// A directory that goes with the test.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dotmsg-cli-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// No other test, in this process or before it, has this name.
#[cfg(feature = "kafka")]
fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("cli-{}-{}-{number}", std::process::id(), SystemClock.now())
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Its output as lines of JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
            })
            .collect()
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn fails_with(self, code: i32, says: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(says), "{self:?}");
        self
    }
}

/// A backend, and a route on it of which the configuration says everything.
pub(crate) struct Desk {
    pub(crate) dir: Dir,
    pub(crate) group: String,
    /// What the broker's names of topics begin with.
    pub(crate) prefix: String,
    config: String,
}

const CONFIG: &str = r#"
[backend.main]
url = "log:./data"
auto_create = true
auto_create_partitions = 2

[routes.bill]
topic = "orders"
group = "billing"

[routes.ship]
concurrency = 3
"#;

impl Desk {
    /// With the topics of the route.
    pub(crate) fn new() -> Self {
        let desk = Self::without_topics();
        desk.run("topics apply").ok();
        desk
    }

    pub(crate) fn without_topics() -> Self {
        Self::with_config(["billing", ""], CONFIG.into())
    }

    /// The same on the broker that `DOTMSG_TEST_KAFKA_URL` names, with names of its own; `None` where there is none.
    #[cfg(feature = "kafka")]
    #[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
    pub(crate) fn on_kafka() -> Option<Self> {
        let Ok(url) = std::env::var("DOTMSG_TEST_KAFKA_URL") else {
            println!("skipped: DOTMSG_TEST_KAFKA_URL is not set (`cargo xtask services up kafka`)");
            return None;
        };
        let unique = unique();
        let (group, prefix) = (format!("billing-{unique}"), format!("{unique}."));
        let config = CONFIG
            .replace("log:./data", &url)
            .replace("\"billing\"", &format!("\"{group}\""))
            .replace(
                "[routes.bill]",
                &format!("topic_prefix = \"{prefix}\"\n\n[routes.bill]"),
            );
        let desk = Self::with_config([&group, &prefix], config);
        desk.run("topics apply").ok();
        Some(desk)
    }

    fn with_config([group, prefix]: [&str; 2], config: String) -> Self {
        let dir = Dir::new();
        dir.write("dotmsg.toml", &config);
        Self {
            dir,
            group: group.into(),
            prefix: prefix.into(),
            config,
        }
    }

    pub(crate) fn run(&self, line: &str) -> Ended {
        self.run_with(line, "")
    }

    /// Runs `dotmsg` with the words of a line, and this on its input.
    pub(crate) fn run_with(&self, line: &str, input: &str) -> Ended {
        let words: Vec<&str> = line.split_whitespace().collect();
        dotmsg(self.dir.path(), &words, input.as_bytes())
    }

    /// Runs a service in this process until all is settled and nothing is left to do. It gives each message up, for the kind that
    /// its payload says; `ok` is no failure.
    pub(crate) async fn work(&self) {
        self.work_until_letters(0).await;
    }

    /// The same, and until its dead-letter topic holds so many.
    pub(crate) async fn work_until_letters(&self, count: usize) {
        let running = self.app().start().await.unwrap();
        let route = running.handle().route("bill").unwrap().clone();
        let done = async {
            while !route.is_settled().await.unwrap() || letters(&route).await < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(60), done);
        done.await.expect("all is settled in time");
        running.handle().idle().await;
        running.handle().drain();
        running.wait().await.unwrap();
    }

    pub(crate) fn app(&self) -> App {
        App::with_config(self.config()).handler(bill)
    }

    /// The configuration, from wherever it is read.
    pub(crate) fn config(&self) -> Config {
        let data = self.dir.path().join("data");
        let text = self.config.replace("./data", data.to_str().unwrap());
        let text = text.replace("[routes.ship]\nconcurrency = 3\n", "");
        Config::from_toml("dotmsg.toml", &text).unwrap()
    }
}

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(kind: &[u8]) -> Result<(), HandlerError> {
    match std::str::from_utf8(kind).unwrap() {
        "ok" => Ok(()),
        kind => {
            let reason = format!("no \"{kind}\"\u{1b}[31m in 7 tries");
            Err(HandlerError::permanent(reason).kind(kind.to_owned()))
        }
    }
}

async fn letters(route: &RouteHandle) -> usize {
    let mut letters = route.dead_letters().await.unwrap();
    let mut count = 0;
    while letters.next().await.unwrap().is_some() {
        count += 1;
    }
    count
}

/// Runs the binary in a directory.
pub(crate) fn dotmsg(dir: &Path, args: &[impl AsRef<std::ffi::OsStr>], input: &[u8]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dotmsg"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DOTMSG") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not read its input has closed it.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
