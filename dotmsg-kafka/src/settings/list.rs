//! What a tool that prints the configuration may show of `[backend.<name>.kafka]`.
//!
//! What is not known to be harmless is not shown: a text of librdkafka's may hold a password, a key or a token, so those that
//! may be shown are listed, and a property of a later release is none of them.

use dotmsg_core::backend::SettingList;

use super::own::{DEFAULTS, Own};
use super::properties;

/// The adapter's own keys with their defaults, and which values may be shown, for
/// [`Registry::list_settings`](dotmsg_core::backend::Registry::list_settings).
#[must_use]
pub fn kafka_setting_list() -> SettingList {
    SettingList {
        defaults: DEFAULTS,
        may_show: |key| match Own::is_one(key) {
            true => key != "password",
            false => properties::is_no_text(key) || HARMLESS.contains(&key),
        },
    }
}

/// Texts that name something: a mechanism, a file, a user.
const HARMLESS: &[&str] = &[
    "client.id",
    "client.rack",
    "debug",
    "group.remote.assignor",
    "partition.assignment.strategy",
    "partitioner",
    "sasl.kerberos.keytab",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.sigalgs.list",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_what_is_not_known_are_not_shown() {
        let list = kafka_setting_list();
        for key in ["session.timeout.ms", "acks", "tls", "username", "client.id"] {
            assert!((list.may_show)(key), "{key}");
        }
        let secret = |name: &str| {
            ["password", "pem", "secret", "passphrase"]
                .iter()
                .any(|part| name.contains(part))
        };
        let known = properties::names().filter(|name| secret(name));
        let others = ["password", "sasl.oauthbearer.config", "no.such.property"];
        for key in known.chain(others) {
            assert!(!(list.may_show)(key), "{key}");
        }
        for name in HARMLESS {
            assert!(properties::names().any(|known| known == *name), "{name}");
        }
    }
}
