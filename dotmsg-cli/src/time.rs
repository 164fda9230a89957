//! Moments and ages, as they are written and read here: RFC 3339 in UTC, and durations such as `2h 30m`.

use std::time::{Duration, SystemTime};

use dotmsg::clock::{Clock, SystemClock, Timestamp};

/// Now, by this machine's clock.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// A moment, in RFC 3339 to the millisecond; what lies before 1970 as milliseconds.
pub(crate) fn instant(at: Timestamp) -> String {
    let ms = u64::try_from(at.0).ok();
    let time = ms.and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
    match time {
        Some(time) => humantime::format_rfc3339_millis(time).to_string(),
        None => format!("{} ms", at.0),
    }
}

/// An age in its two largest units, from seconds up.
pub(crate) fn age(age: Duration) -> String {
    let seconds = Duration::from_secs(age.as_secs());
    let text = humantime::format_duration(seconds).to_string();
    let units: Vec<&str> = text.split(' ').take(2).collect();
    units.concat()
}

/// A moment as an argument says it: so long ago, or RFC 3339, where the time of the day may be left out.
pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        let ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp(now.0.saturating_sub(ms)));
    }
    let midnight = format!("{text}T00:00:00Z");
    let time = humantime::parse_rfc3339_weak(text)
        .or_else(|_| humantime::parse_rfc3339_weak(&midnight))
        .map_err(|_| {
            format!("{text:?} is neither an age such as 2h nor a time such as 2026-01-31T12:00:00Z (UTC)")
        })?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let ms = since
        .map_err(|_| format!("{text:?} is before 1970"))?
        .as_millis();
    Ok(Timestamp(i64::try_from(ms).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_ages_or_times() {
        let now = Timestamp(10_000_000);
        assert_eq!(parse("1h 30m", now), Ok(Timestamp(10_000_000 - 5_400_000)));
        assert_eq!(parse("1970-01-02", now), Ok(Timestamp(86_400_000)));
        assert_eq!(parse("1970-01-01T00:00:01Z", now), Ok(Timestamp(1_000)));
        assert!(parse("yesterday", now).unwrap_err().contains("neither"));
        assert_eq!(instant(Timestamp(1_500)), "1970-01-01T00:00:01.500Z");
    }

    #[test]
    fn ages_have_two_units() {
        assert_eq!(age(Duration::from_secs(90_061)), "1day1h");
        assert_eq!(age(Duration::from_millis(59_999)), "59s");
    }
}
