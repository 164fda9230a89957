//! `kafka://[user:password@]host:port[,host:port…]`.
//!
//! User and password are percent-encoded, so that no sign in them ends them. No error of this file shows any part of the URL:
//! where it is wrong, nobody knows which part of it is the password.

use dotmsg_core::error::{Error, ErrorKind, Result};

use super::secret::Secret;

/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// As librdkafka wants them: `host:port,host:port`.
    pub(super) brokers: String,
    /// User and password.
    pub(super) login: Option<(String, Secret)>,
}

impl Address {
    /// Parses a URL.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let Some(rest) = url.strip_prefix("kafka://") else {
            return Err(wrong("it does not begin with kafka://"));
        };
        let (login, hosts) = match rest.rsplit_once('@') {
            Some((login, hosts)) => (Some(self::login(login)?), hosts),
            None => (None, rest),
        };
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
        if hosts.is_empty() {
            return Err(wrong("it names no broker"));
        }
        if hosts.contains(['/', '?', '#']) {
            return Err(wrong("it has a path, a query or a fragment, and brokers have none")
                .remedy("Settings stand in [backend.<name>.kafka]; in user and password, write these signs percent-encoded"));
        }
        if !hosts.split(',').all(is_broker) {
            return Err(wrong("one of its brokers is not written as host:port"));
        }
        Ok(Self {
            brokers: hosts.to_owned(),
            login,
        })
    }
}

fn wrong(message: &'static str) -> Error {
    Error::new(ErrorKind::Config, "read the URL", message)
        .remedy("Write it as kafka://host:9092, kafka://host:9092,other:9092 or kafka://user:password@host:9092")
}

fn login(text: &str) -> Result<(String, Secret)> {
    let encoded = || {
        wrong("user or password is not percent-encoded")
            .remedy("Write `@` as %40, `:` as %3A, `/` as %2F, `%` as %25, or use `username` and `password_file`")
    };
    let Some((user, password)) = text.split_once(':') else {
        return Err(wrong("it has a user without a password"));
    };
    if [user, password]
        .iter()
        .any(|part| part.contains(['@', ':', '/', '?', '#']))
    {
        return Err(encoded());
    }
    let (user, password) = (
        decoded(user).ok_or_else(encoded)?,
        decoded(password).ok_or_else(encoded)?,
    );
    if user.is_empty() || password.is_empty() {
        return Err(wrong("its user or its password is empty"));
    }
    Ok((user, Secret::new(password)))
}

/// The text behind a percent-encoded one.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high << 4 | low).ok()?
            }
            plain => plain,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
}

/// `host`, `host:port` or `[v6]:port`.
fn is_broker(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or("none"))),
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_v6 = text.starts_with('[');
    let allowed =
        |sign: char| sign.is_alphanumeric() || "-._".contains(sign) || is_v6 && ":%".contains(sign);
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    !host.is_empty() && host.chars().all(allowed) && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn brokers_and_login_are_told_apart() {
        let parsed = Address::parse("kafka://a:9092,[::1]:9093,b/").unwrap();
        assert_eq!(
            (parsed.brokers.as_str(), parsed.login),
            ("a:9092,[::1]:9093,b", None)
        );
        let parsed = Address::parse("kafka://app%40x:p%3A%2F%40%25%C3%A9@a:1").unwrap();
        let (user, password) = parsed.login.unwrap();
        assert_eq!((user.as_str(), password.reveal()), ("app@x", "p:/@%é"));
        assert_eq!(parsed.brokers, "a:1");
    }

    #[test]
    fn a_wrong_one_is_refused_and_nothing_of_it_shown() {
        for url in [
            "kafka://",
            "kafka:///",
            "kafka:canary",
            "kafka://u:canary@",
            "kafka://u:canary@host:x",
            "kafka://u:can:canary@host",
            "kafka://u:can@canary@host",
            "kafka://u:can/canary@host",
            "kafka://u:%canary@host",
            "kafka://u:%ffcanary@host",
            "kafka://u:%00canary@host",
            "kafka://canary@host",
            "kafka://:canary@host",
            "kafka://host,:canary",
            "kafka://host:0",
            "kafka://host:canary",
            "kafka://host/canary",
            "kafka://host?password=canary",
            "kafka://[::1canary",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(
                !format!("{error} {error:?}").contains("canary"),
                "{url}: {error}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_password_can_be_written(password in "[^\0]{1,20}") {
            let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let parsed = Address::parse(&format!("kafka://u:{encoded}@h:1")).unwrap();
            let (_, found) = parsed.login.unwrap();
            prop_assert_eq!(found.reveal(), password);
        }

        #[test]
        fn nothing_panics(rest in ".{0,40}") {
            let _ = Address::parse(&format!("kafka://{rest}"));
        }
    }
}
