//! A directory with a configuration, the binary run in it, and a service that gives everything up.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

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

/// A log, and a route on it of which the configuration says everything.
pub(crate) struct Desk {
    pub(crate) dir: Dir,
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
        let dir = Dir::new();
        dir.write("dotmsg.toml", CONFIG);
        Self { dir }
    }

    pub(crate) fn run(&self, line: &str) -> Ended {
        self.run_with(line, "")
    }

    /// Runs `dotmsg` with the words of a line, and this on its input.
    pub(crate) fn run_with(&self, line: &str, input: &str) -> Ended {
        let words: Vec<&str> = line.split_whitespace().collect();
        dotmsg(self.dir.path(), &words, input.as_bytes())
    }

    /// Runs a service in this process until nothing is left to do. It gives each message up, for the kind that its payload
    /// says; `ok` is no failure.
    pub(crate) async fn work(&self) {
        let running = self.app().start().await.unwrap();
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
        let text = CONFIG.replace("./data", data.to_str().unwrap());
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
