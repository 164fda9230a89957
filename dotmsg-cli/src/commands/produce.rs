//! `produce`: messages from an argument, from standard input, or from lines of JSON.
//!
//! Many are published a page at a time, so that memory is bounded whatever the input; the order of the input is kept within a
//! page and from page to page.

use std::ffi::OsString;
use std::io::{self, BufRead, Read};

use clap::Args;
use dotmsg::backend::{PublishOutcome, Published};
use dotmsg::{Bytes, Message};
use serde_json::{Map, Value, json};

use crate::desk::Desk;
use crate::exit::{Exit, Failure, Outcome};
use crate::{escape, json};

/// Messages that are on their way together.
const PAGE: usize = 500;

#[derive(Debug, Args)]
pub(crate) struct Produce {
    /// The topic, without the prefix of the backend
    #[arg(value_name = "TOPIC")]
    to: String,
    /// The payload [default: standard input, whole]
    payload: Option<OsString>,
    /// The key; none: null
    #[arg(short, long)]
    key: Option<OsString>,
    /// A header; may be repeated
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// The identity (header dotmsg-id), by which a repeat is recognised
    #[arg(long)]
    id: Option<OsString>,
    /// A null payload (a tombstone)
    #[arg(long, conflicts_with_all = ["payload", "lines", "ndjson"])]
    null: bool,
    /// Each line of standard input is a payload
    #[arg(long, conflicts_with_all = ["payload", "ndjson", "id"])]
    lines: bool,
    /// Each line of standard input is a message: {"key", "payload", "headers", "id"}, as tail and dlq export write them
    #[arg(long, conflicts_with_all = ["payload", "key", "header", "id"])]
    ndjson: bool,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Produce {
    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        let mut sent = Sent::default();
        if !self.lines && !self.ndjson {
            let payload = self.payload(desk)?;
            let message = self.message(payload);
            self.publish(desk, vec![message], &mut sent).await?;
            return sent.end(desk, &self.to);
        }
        let mut page = Vec::new();
        let mut number = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            if desk.console.input.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            number += 1;
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            match self.of_line(text) {
                Ok(message) => page.extend(message),
                Err(wrong) => {
                    // What stands before it is published: the message says where to go on.
                    self.publish(desk, page, &mut sent).await?;
                    sent.end(desk, &self.to)?;
                    return Err(sent.refused(format!("line {number}: {wrong}")));
                }
            }
            if page.len() >= PAGE {
                self.publish(desk, std::mem::take(&mut page), &mut sent)
                    .await?;
            }
        }
        self.publish(desk, page, &mut sent).await?;
        sent.end(desk, &self.to)
    }

    fn payload(&self, desk: &mut Desk<'_>) -> Outcome<Option<Bytes>> {
        if self.null {
            return Ok(None);
        }
        if let Some(payload) = &self.payload {
            return Ok(Some(bytes(payload)));
        }
        let mut payload = Vec::new();
        desk.console.input.read_to_end(&mut payload)?;
        Ok(Some(payload.into()))
    }

    fn message(&self, payload: Option<Bytes>) -> Message {
        let mut message = Message::tombstone();
        message.payload = payload;
        message.key = self.key.as_ref().map(bytes);
        for (name, value) in &self.header {
            let value = Bytes::from(value.clone());
            message.headers.append(&**name, Some(value));
        }
        match &self.id {
            Some(id) => message.with_id(bytes(id)),
            None => message,
        }
    }

    /// The message of a line; none of an empty line of JSON.
    fn of_line(&self, line: &[u8]) -> Result<Option<Message>, String> {
        if !self.ndjson {
            return Ok(Some(self.message(Some(Bytes::copy_from_slice(line)))));
        }
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let mut object: Map<String, Value> =
            serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let mut message = Message::tombstone();
        message.payload = json::take(&mut object, "payload")?.flatten();
        message.key = json::take(&mut object, "key")?.flatten();
        let headers = object.remove("headers").unwrap_or_default();
        message.headers = json::read_headers(headers)?;
        if let Some(Some(id)) = json::take(&mut object, "id")? {
            message.headers.insert(dotmsg::message::ID_HEADER, Some(id));
        }
        Ok(Some(message))
    }

    async fn publish(
        &self,
        desk: &mut Desk<'_>,
        messages: Vec<Message>,
        sent: &mut Sent,
    ) -> Outcome<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let backend = desk.backend()?;
        let Some(publisher) = desk.app.publisher(&backend) else {
            return Err(Failure::usage(format!(
                "there is no open backend {backend}"
            )));
        };
        for outcome in publisher.publish_all(&self.to, messages).await {
            sent.count(desk, &self.to, outcome)?;
        }
        Ok(())
    }
}

/// What became of the messages.
#[derive(Default)]
struct Sent {
    confirmed: u64,
    failed: u64,
    last: Option<Published>,
}

impl Sent {
    fn count(&mut self, desk: &mut Desk<'_>, topic: &str, outcome: PublishOutcome) -> Outcome<()> {
        let (error, unknown) = match outcome {
            PublishOutcome::Ok(published) => {
                self.confirmed += 1;
                self.last = Some(published);
                if desk.json {
                    desk.object(&json!({
                        "topic": topic,
                        "partition": published.partition,
                        "offset": published.offset,
                        "duplicate": published.duplicate,
                    }))?;
                }
                return Ok(());
            }
            PublishOutcome::Failed(error) => (error, false),
            PublishOutcome::Unknown(error) => (error, true),
        };
        self.failed += 1;
        let text = error.to_string();
        match desk.json {
            true => desk.object(&json!({ "topic": topic, "error": text, "unknown": unknown })),
            false => {
                let what = if unknown {
                    "not known to be published"
                } else {
                    "not published"
                };
                let number = self.confirmed + self.failed;
                desk.note(format!(
                    "message {number}: {what}: {}",
                    escape::line(text.as_bytes())
                ))
            }
        }
    }

    /// What a line that cannot be read comes to: a wrong call says that nothing was done, so it is one only before the first message.
    fn refused(&self, wrong: String) -> Failure {
        match self.confirmed + self.failed {
            0 => Failure::Usage(wrong),
            _ => Failure::Io(io::Error::new(io::ErrorKind::InvalidData, wrong)),
        }
    }

    fn end(&self, desk: &mut Desk<'_>, topic: &str) -> Outcome {
        if !desk.json {
            match (self.confirmed, self.failed, &self.last) {
                (1, 0, Some(at)) => {
                    desk.line(format!(
                        "published to {topic}/{}/{}",
                        at.partition, at.offset
                    ))?;
                }
                (confirmed, 0, _) => desk.line(format!("{confirmed} published to {topic}"))?,
                (confirmed, failed, _) => {
                    desk.line(format!("{confirmed} published to {topic}, {failed} not"))?;
                }
            }
        }
        match self.failed {
            0 => Ok(Exit::Done),
            _ => Ok(Exit::Failed),
        }
    }
}

/// An argument's bytes; on Unix they need not be text.
pub(crate) fn bytes(text: &OsString) -> Bytes {
    Bytes::copy_from_slice(text.as_encoded_bytes())
}
