//! TLS and SASL: the adapter's own keys as librdkafka's properties.
//!
//! Files are looked at when the backend is opened: librdkafka's error for one that is missing is a code of OpenSSL. A password
//! file is read once; its last line ending is not part of the password.

use std::path::Path;

use dotmsg_core::error::{Error, ErrorKind, Result};

use super::own::{Mechanism, Own};
use super::secret::Secret;

type Property = (&'static str, Secret);

/// The properties that these keys come to. A login in the URL comes as `login`.
pub(super) fn properties(own: &Own, login: Option<&(String, Secret)>) -> Result<Vec<Property>> {
    let mut set = Vec::new();
    let user = login.map(|(user, _)| user).or(own.username.as_ref());
    let password = password(own, login)?;
    let logs_in = user.is_some() || password.is_some();
    if let Some(user) = user {
        set.push(("sasl.username", Secret::new(user)));
    }
    set.extend(password.map(|password| ("sasl.password", password)));
    if logs_in {
        set.push(("sasl.mechanisms", Secret::new(own.mechanism.name())));
    }
    let protocol = match (own.tls, logs_in) {
        (false, false) => None,
        (true, false) => Some("ssl"),
        (false, true) => Some("sasl_plaintext"),
        (true, true) => Some("sasl_ssl"),
    };
    set.extend(protocol.map(|protocol| ("security.protocol", Secret::new(protocol))));
    for (key, property, file) in [
        ("ca_file", "ssl.ca.location", &own.ca_file),
        (
            "certificate_file",
            "ssl.certificate.location",
            &own.certificate_file,
        ),
        ("key_file", "ssl.key.location", &own.key_file),
    ] {
        if let Some(file) = file {
            readable(key, file)?;
            set.push((property, Secret::new(file)));
        }
    }
    Ok(set)
}

fn password(own: &Own, login: Option<&(String, Secret)>) -> Result<Option<Secret>> {
    if let Some((_, password)) = login {
        return Ok(Some(password.clone()));
    }
    let Some(file) = &own.password_file else {
        return Ok(own.password.clone());
    };
    let text =
        std::fs::read_to_string(file).map_err(|error| unreadable("password_file", file, error))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() || text.contains(['\0', '\n']) {
        return Err(Error::new(
            ErrorKind::Config,
            "read a file",
            "it does not hold a password: one line, not empty",
        )
        .with("setting", "password_file")
        .with("file", file));
    }
    Ok(Some(Secret::new(text)))
}

/// Whether a password would go over the wire as it is.
pub(super) fn is_bare(own: &Own, protocol: &str, mechanism: Option<&str>) -> bool {
    let mechanism = mechanism.unwrap_or(own.mechanism.name());
    protocol.eq_ignore_ascii_case("sasl_plaintext")
        && mechanism.eq_ignore_ascii_case(Mechanism::Plain.name())
}

fn readable(key: &'static str, file: &str) -> Result<()> {
    let is_there = match Path::new(file).is_dir() {
        true => std::fs::read_dir(file).map(drop),
        false => std::fs::File::open(file).map(drop),
    };
    is_there.map_err(|error| unreadable(key, file, error))
}

fn unreadable(key: &'static str, file: &str, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Config, "read a file", "it cannot be read")
        .with("setting", key)
        .with("file", file)
        .source_error(error)
}
