//! The trace context of a message, as W3C Trace Context writes it into headers.
//!
//! `traceparent` names the span that made the message; `tracestate` is what tracing systems add to it. Whoever takes part in
//! a trace passes both on, with a tracer or without one, else the trace ends in the first service that has none.
//!
//! What must stay true: what cannot be read counts as not there. A producer can put anything into these headers, so nothing here
//! fails, allocates, or passes on more than a bounded number of bytes.

use std::fmt;

use super::Headers;

/// The header that names the span that made a message.
pub const TRACEPARENT: &str = "traceparent";

/// The header with what tracing systems add to it.
pub const TRACESTATE: &str = "tracestate";

/// Longest value of one of these headers that is passed on, in bytes: the length of a `tracestate` that the standard asks
/// everybody to take. A `traceparent` comes near it in versions that are not known yet only.
pub const TRACE_HEADER_BYTES_MAX: usize = 512;

/// Bytes of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// The span that made a message: what `traceparent` says.
///
/// ```
/// use dotmsg_core::message::TraceParent;
///
/// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let parent = TraceParent::parse(text.as_bytes()).unwrap();
/// assert!(parent.sampled);
/// assert_eq!(parent.to_string(), text);
/// assert_eq!(TraceParent::parse(b"anything else"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The span; never 0.
    pub span_id: u64,
    /// Whether the trace is recorded, as far as its beginning decides that.
    pub sampled: bool,
}

impl TraceParent {
    /// What a header value says; `None` when it is malformed. Of a version that is not known yet only what version 00 has is read.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, further) = value.split_at_checked(LENGTH)?;
        let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        let version = hex(&known[..2])?;
        let ends = further.is_empty() || version != 0 && further[0] == b'-';
        if !dashes || version == 0xff || !ends {
            return None;
        }
        let parent = Self {
            trace_id: hex(&known[3..35])?,
            span_id: u64::try_from(hex(&known[36..52])?).ok()?,
            sampled: hex(&known[53..])? & 1 == 1,
        };
        (parent.trace_id != 0 && parent.span_id != 0).then_some(parent)
    }

    /// What the headers of a message say.
    #[must_use]
    pub fn of(headers: &Headers) -> Option<Self> {
        Self::parse(headers.get(TRACEPARENT)?)
    }
}

/// As it stands in a header.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace_id,
            span_id,
            sampled,
        } = self;
        write!(
            f,
            "00-{trace_id:032x}-{span_id:016x}-{:02x}",
            u8::from(*sampled)
        )
    }
}

/// The number that lower-case hexadecimal digits stand for; at most 32 of them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// Gives a message the trace context of the one it was made for, as it stands there, unless it has one already.
pub(crate) fn pass_on(from: &Headers, to: &mut Headers) {
    if from.is_empty() || to.get(TRACEPARENT).is_some() {
        return;
    }
    let Some(parent) = from.get(TRACEPARENT) else {
        return;
    };
    if TraceParent::parse(parent).is_none() || parent.len() > TRACE_HEADER_BYTES_MAX {
        return;
    }
    to.append(TRACEPARENT, Some(parent.clone()));
    let state = from.get(TRACESTATE);
    if let Some(state) = state.filter(|state| state.len() <= TRACE_HEADER_BYTES_MAX) {
        to.append(TRACESTATE, Some(state.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn with(headers: &[(&str, &str)]) -> Headers {
        let value = |text: &str| Some(bytes::Bytes::from(text.to_owned()));
        headers
            .iter()
            .map(|(name, text)| (*name, value(text)))
            .collect()
    }

    #[test]
    fn what_is_malformed_is_not_there() {
        let parse = |text: &str| TraceParent::parse(text.as_bytes());
        assert_eq!(parse(TEXT).unwrap().to_string(), TEXT);
        let later = TEXT.replacen("00-", "01-", 1) + "-what-is-to-come";
        assert_eq!(parse(&later).unwrap().to_string(), TEXT);
        let long = TEXT.to_owned() + "-" + &"x".repeat(100_000);
        for malformed in [
            "",
            "00",
            &TEXT[..54],
            &long,
            &(TEXT.to_owned() + "0"),
            &TEXT.to_uppercase(),
            &TEXT.replacen("00-", "ff-", 1),
            &TEXT.replace('-', "_"),
            &TEXT.replace("b7ad6b7169203331", "0000000000000000"),
            &TEXT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &TEXT.replacen("0a", "+a", 1),
            &TEXT.replacen("0a", "\u{e9}", 1),
        ] {
            assert_eq!(parse(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn a_context_is_passed_on_as_it_is_and_replaces_none() {
        let state = "vendor=opaque";
        let parent = with(&[("x", "1"), (TRACEPARENT, TEXT), (TRACESTATE, state)]);
        let mut child = Headers::new();
        pass_on(&parent, &mut child);
        assert_eq!(child, with(&[(TRACEPARENT, TEXT), (TRACESTATE, state)]));
        let own = with(&[(TRACEPARENT, "its own")]);
        let mut child = own.clone();
        pass_on(&parent, &mut child);
        assert_eq!(child, own);
    }

    #[test]
    fn neither_what_is_malformed_nor_what_is_too_long_is_passed_on() {
        let mut child = Headers::new();
        pass_on(
            &with(&[(TRACEPARENT, "x"), (TRACESTATE, "a=b")]),
            &mut child,
        );
        pass_on(&with(&[(TRACESTATE, "a=b")]), &mut child);
        assert!(child.is_empty());
        let long = "a=".to_owned() + &"b".repeat(TRACE_HEADER_BYTES_MAX);
        pass_on(
            &with(&[(TRACEPARENT, TEXT), (TRACESTATE, &long)]),
            &mut child,
        );
        assert_eq!(child, with(&[(TRACEPARENT, TEXT)]));
        let later = TEXT.replacen("00-", "01-", 1) + "-";
        let longest = later.clone() + &"x".repeat(TRACE_HEADER_BYTES_MAX - later.len());
        for (parent, passes) in [(longest.clone(), true), (longest + "x", false)] {
            let mut child = Headers::new();
            pass_on(&with(&[(TRACEPARENT, &parent)]), &mut child);
            assert_eq!(child.is_empty(), !passes, "{} bytes", parent.len());
        }
    }
}
