//! Whether a cluster answers, and what stands in the way.
//!
//! librdkafka tries again for ever, also where that cannot help: a wrong password, a certificate that it does not trust. It only
//! mentions such an error on the side. So the client that looks first keeps what it hears, and whoever opens the backend gets
//! that as an error, at once where no repeat can help.

use std::sync::{Arc, Mutex};

use dotmsg_core::error::{Error, ErrorKind};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::context::log_line;
use crate::lock;

/// The context of a client that looks at a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contact(Arc<Mutex<Heard>>);

/// What was heard since the last answer. A cause is not replaced by its consequence, that all brokers are down.
#[derive(Debug, Default)]
struct Heard {
    cause: Option<(Code, String)>,
}

impl Contact {
    fn hear(&self, code: Code, reason: &str) {
        let mut heard = lock(&self.0);
        if heard.cause.as_ref().is_none_or(|(known, _)| rank(code) >= rank(*known)) {
            heard.cause = Some((code, reason.to_owned()));
        }
    }

    /// What cannot pass by itself: the rights, or the certificates, are wrong.
    pub(crate) fn hopeless(&self) -> Option<Error> {
        let heard = lock(&self.0);
        let (code, reason) = heard.cause.as_ref().filter(|(code, _)| rank(*code) == rank(Code::SSL))?;
        Some(described(*code, reason))
    }

    /// What was heard last that may be the cause.
    pub(crate) fn cause(&self) -> Option<Error> {
        let heard = lock(&self.0);
        heard.cause.as_ref().map(|(code, reason)| described(*code, reason))
    }

    /// Forgets what was heard.
    pub(crate) fn answered(&self) {
        lock(&self.0).cause = None;
    }
}

fn rank(code: Code) -> u8 {
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL => 2,
        Code::AllBrokersDown => 0,
        _ => 1,
    }
}

/// `reason` is librdkafka's: broker, mechanism and what the broker said; never a password.
fn described(code: Code, reason: &str) -> Error {
    let (kind, message, remedy) = match code {
        Code::Authentication | Code::SaslAuthenticationFailed => (
            ErrorKind::Denied,
            "the broker does not let this client in",
            "Check username, password and sasl_mechanism",
        ),
        Code::SSL => (
            ErrorKind::Denied,
            "there is no TLS with the broker",
            "Check ca_file: it has to hold the certificate authority that signed the broker's certificate, and the host in the URL has to be one that the certificate names",
        ),
        Code::Resolve => (
            ErrorKind::Unreachable,
            "the broker's name has no address",
            "Check the host in the URL",
        ),
        _ => (
            ErrorKind::Unreachable,
            "no broker answers",
            "Check the address, whether its listener is meant for clients from here, and whether it wants `tls = true`",
        ),
    };
    Error::new(kind, "look up the cluster", message).with("reason", reason).remedy(remedy)
}

/// Nothing was heard at all.
pub(crate) fn silent() -> Error {
    described(Code::BrokerTransportFailure, "no answer and no error")
}

impl ClientContext for Contact {
    fn log(&self, level: Level, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka client");
        self.hear(error.rdkafka_error_code().unwrap_or(Code::Unknown), reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_outlives_its_consequence() {
        let contact = Contact::default();
        assert!(contact.cause().is_none());
        contact.hear(Code::AllBrokersDown, "1/1 brokers are down");
        assert!(contact.hopeless().is_none());
        contact.hear(Code::BrokerTransportFailure, "refused");
        contact.hear(Code::AllBrokersDown, "1/1 brokers are down");
        let error = contact.cause().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(error.to_string().contains("refused"), "{error}");
        assert!(contact.hopeless().is_none());
        contact.hear(Code::Authentication, "invalid credentials");
        contact.hear(Code::BrokerTransportFailure, "refused");
        assert_eq!(contact.hopeless().unwrap().kind(), ErrorKind::Denied);
        contact.answered();
        assert!(contact.cause().is_none());
    }
}
