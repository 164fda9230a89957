//! A dead letter as JSON, and as text.

use std::io::{self, Write};

use dotmsg::replay::DeadLetter;
use serde_json::{Map, Value, json};

use super::select::given_up_at;
use crate::{escape, json, time};

/// Everything about it; without the message's headers and payload when it is one of many.
pub(super) fn object(letter: &DeadLetter, done: bool, whole: bool) -> Value {
    let mut object = Map::new();
    let lineage = &letter.lineage;
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("partition", letter.partition.into());
    put("offset", letter.offset.into());
    put("kind", letter.kind.as_str().into());
    put("reason", letter.reason.as_str().into());
    put("attempts", letter.attempts().into());
    put("replays", letter.replays().into());
    put("group", (*lineage.group).into());
    put("handler", (*lineage.handler).into());
    put("given_up_at", time::instant(given_up_at(letter)).into());
    put(
        "first_failure",
        lineage.first_failure.map(time::instant).into(),
    );
    put("by_reference", letter.by_reference.into());
    put("done", done.into());
    let origin = json!({
        "topic": &*lineage.topic,
        "partition": lineage.partition,
        "offset": lineage.offset,
    });
    put("origin", origin);
    if whole {
        put("chain", letter.chain.clone().into());
        json::put_message(&mut object, &letter.message);
    } else {
        json::put(&mut object, "key", letter.message.key.as_deref());
    }
    json::put(&mut object, "id", Some(&letter.id()));
    Value::Object(object)
}

/// All of it, for a person.
pub(super) fn write(
    out: &mut dyn Write,
    letter: &DeadLetter,
    done: bool,
    payload_bytes: usize,
) -> io::Result<()> {
    let lineage = &letter.lineage;
    let message = &letter.message;
    let text = |bytes: &[u8]| escape::line(bytes);
    let mut field = |name: &str, value: String| writeln!(out, "{name:<13} {value}");
    field("place", format!("{}/{}", letter.partition, letter.offset))?;
    field("id", text(&letter.id()))?;
    field(
        "key",
        message
            .key
            .as_ref()
            .map_or("(null)".into(), |key| text(key)),
    )?;
    field("origin", text(letter.origin().to_string().as_bytes()))?;
    field(
        "handler",
        format!(
            "{} in group {}",
            text(lineage.handler.as_bytes()),
            text(lineage.group.as_bytes())
        ),
    )?;
    field("attempts", letter.attempts().to_string())?;
    field("replays", letter.replays().to_string())?;
    field("given up at", time::instant(given_up_at(letter)))?;
    if let Some(first) = lineage.first_failure {
        field("first failure", time::instant(first))?;
    }
    field("kind", text(letter.kind.as_bytes()))?;
    field("reason", text(letter.reason.as_bytes()))?;
    for cause in letter.chain.iter().skip(1) {
        field("because of", text(cause.as_bytes()))?;
    }
    for (name, value) in message.headers.iter() {
        let value = value.map_or("(null)".into(), |value| text(value));
        field("header", format!("{}: {value}", text(name.as_bytes())))?;
    }
    if done {
        field("state", "replayed or discarded".to_owned())?;
    }
    let shown = match &message.payload {
        _ if letter.by_reference => "too large for a dead letter: it lies at the origin".to_owned(),
        None => "(null)".to_owned(),
        Some(payload) if payload.len() > payload_bytes => {
            let (head, all) = (&payload[..payload_bytes], payload.len());
            format!("{}… ({all} bytes)", text(head))
        }
        Some(payload) => text(payload),
    };
    field("payload", shown)
}
