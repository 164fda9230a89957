//! What is wrong with one setting by itself: for the registry, while the configuration is read, and again at opening.
//!
//! librdkafka's own words repeat the value, which may be a password in the wrong place; so none of them is passed on.

use dotmsg_core::backend::WrongSetting;

use super::own::{self, Own};
use super::properties::{self, Verdict};
use super::refused;

/// What is wrong with one setting of `[backend.<name>.kafka]`, for
/// [`Registry::check_settings`](dotmsg_core::backend::Registry::check_settings).
///
/// # Errors
/// An unknown key, an impossible value, or a property that would break a guarantee.
pub fn kafka_check_setting(key: &str, value: &str) -> Result<(), WrongSetting> {
    if Own::is_one(key) {
        return Own::default().set(key, value);
    }
    let verdict = properties::probe(key, value);
    if verdict == Verdict::Unknown {
        return Err(WrongSetting::UnknownKey(near(key)));
    }
    if let Some(reason) = refused::reason(key, value) {
        return Err(WrongSetting::Refused(reason.to_owned()));
    }
    match verdict {
        Verdict::Takes => Ok(()),
        _ => Err(WrongSetting::Expected(properties::expected(key))),
    }
}

/// The name that was probably meant, else the adapter's own: librdkafka has too many to list.
fn near(wrong: &str) -> &'static [&'static str] {
    let names = own::KEYS.iter().copied().chain(properties::names());
    let written: String = wrong
        .to_lowercase()
        .chars()
        .map(|sign| if sign == '_' { '.' } else { sign })
        .collect();
    let nearest = names
        .map(|name| {
            let plain = name.replace('_', ".");
            (strsim::damerau_levenshtein(&written, &plain), name)
        })
        .filter(|(distance, name)| *distance <= (written.len().max(name.len()) / 3).max(1))
        .min();
    match nearest {
        Some((_, name)) => one(name),
        None => own::KEYS,
    }
}

/// A list of one name, out of the lists that there are.
fn one(name: &str) -> &'static [&'static str] {
    let own = own::KEYS.iter().position(|known| *known == name);
    own.map_or_else(|| properties::one(name), |at| &own::KEYS[at..=at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_named_with_what_is_possible() {
        let check = kafka_check_setting;
        assert_eq!(check("linger.ms", "10"), Ok(()));
        assert_eq!(check("linger.ms", "0.5"), Ok(()));
        assert_eq!(check("producer", "low_latency"), Ok(()));
        let wrong = check("session.timeout.ms", "0").unwrap_err();
        assert_eq!(
            wrong,
            WrongSetting::Expected("a number from 1 to 3600000".into())
        );
        let wrong = check("compression.type", "best").unwrap_err();
        assert_eq!(
            wrong,
            WrongSetting::Expected("one of none, gzip, snappy, lz4, zstd".into())
        );
        assert!(matches!(check("acks", "1"), Err(WrongSetting::Refused(_))));
        assert!(matches!(
            check("log_cb", "x"),
            Err(WrongSetting::Expected(_))
        ));
    }

    #[test]
    fn an_unknown_name_has_a_nearest_one() {
        for (wrong, meant) in [
            ("session.timeout", "session.timeout.ms"),
            ("session.timeut.ms", "session.timeout.ms"),
            ("session_timeout_ms", "session.timeout.ms"),
            ("usrname", "username"),
            ("min.insync.replica", "min_insync_replicas"),
            ("ssl.ca.locations", "ssl.ca.location"),
        ] {
            let found = kafka_check_setting(wrong, "canary");
            let Err(WrongSetting::UnknownKey(known)) = found else {
                panic!("{wrong}: {found:?}");
            };
            assert_eq!(known, [meant], "{wrong}");
        }
        let found = kafka_check_setting("none of them at all", "");
        assert_eq!(found, Err(WrongSetting::UnknownKey(own::KEYS)));
    }

    #[test]
    fn nothing_that_is_said_holds_the_value() {
        let names = own::KEYS
            .iter()
            .copied()
            .chain(properties::names())
            .chain(["no.such", "log_cb"]);
        for name in names {
            if let Err(wrong) = kafka_check_setting(name, "canary") {
                assert!(
                    !format!("{wrong:?}").contains("canary"),
                    "{name}: {wrong:?}"
                );
            }
        }
    }
}
