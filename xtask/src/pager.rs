//! The pager table: every warning and error that `dotmsg-core` logs has a row in `docs/retry-and-order.md`.
//!
//! A line without a row is one that somebody reads at night and finds nothing about. What is compared is the message's first
//! clause: up to a `;`, a `:`, a parenthesis or a value that is put in. A message that begins with a value is compared by
//! what follows it.

/// Where the table is.
pub(crate) const TABLE: &str = "docs/retry-and-order.md";

/// One line per message of `source` that the table does not have.
pub(crate) fn missing(file: &str, source: &str, table: &str) -> Vec<String> {
    let mut found = Vec::new();
    for message in messages(source) {
        let clause = clause(&message);
        if !table.contains(clause) {
            found.push(format!(
                "{file}: what is logged as {clause:?} has no row in {TABLE}: say what it means and what to do"
            ));
        }
    }
    found
}

/// The messages of `tracing::warn!` and `tracing::error!`: the last string of each.
fn messages(source: &str) -> Vec<String> {
    let mut messages = Vec::new();
    for call in ["tracing::warn!(", "tracing::error!("] {
        for (start, _) in source.match_indices(call) {
            messages.extend(last_string(&source[start + call.len()..]));
        }
    }
    messages
}

/// The last string before the parenthesis that closes the call.
fn last_string(arguments: &str) -> Option<String> {
    let (mut last, mut open) = (None, 1);
    let mut chars = arguments.chars();
    while open > 0 {
        match chars.next()? {
            '(' => open += 1,
            ')' => open -= 1,
            '"' => last = Some(string(&mut chars)),
            _ => {}
        }
    }
    last
}

/// The rest of a string, up to its closing quote.
fn string(chars: &mut impl Iterator<Item = char>) -> String {
    let mut text = String::new();
    while let Some(next) = chars.next() {
        match next {
            '"' => break,
            '\\' => text.extend(chars.next()),
            other => text.push(other),
        }
    }
    text
}

/// The clause by which a message is known.
fn clause(message: &str) -> &str {
    let text = match message.strip_prefix('{') {
        Some(rest) => rest.split_once('}').map_or(rest, |(_, text)| text),
        None => message,
    };
    let text = text.trim_start_matches([';', ':', ' ']);
    let end = text.find([';', ':', '(', '{']).unwrap_or(text.len());
    text[..end].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
        tracing::warn!(topic = %self.topic("x"), "paused: {count} too many");
        tracing::error!(
            %error,
            "even the \"least\" is too large; raise the limit"
        );
        tracing::warn!("{problem}; starting at the first record");
        tracing::info!("not looked at");
    "#;

    #[test]
    fn messages_are_known_by_their_first_clause() {
        let clauses: Vec<String> = messages(SOURCE)
            .iter()
            .map(|message| clause(message).to_owned())
            .collect();
        assert_eq!(
            clauses,
            [
                "paused",
                "starting at the first record",
                "even the \"least\" is too large"
            ]
        );
    }

    #[test]
    fn a_message_without_a_row_is_named() {
        let table = "| `paused` | … |\n| `…; starting at the first record` | … |";
        let found = missing("a.rs", SOURCE, table);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("least"), "{found:?}");
    }
}
