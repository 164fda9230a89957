//! Whether a cluster answers, and what stands in the way.
//!
//! librdkafka tries again for ever, also where that cannot help: a wrong password, a certificate that it does not trust. It only
//! mentions such an error on the side. So a client that looks first keeps what it hears, and whoever opens the backend gets that
//! as an error, at once where no repeat can help. It is a client of its own: the administrator's events are polled by nobody.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

use crate::error;
use crate::lock;
use crate::settings::Settings;

/// How long one look for an answer takes, before what was heard in the meantime is looked at.
const ANSWER: Duration = Duration::from_millis(100);
/// How long events are taken for after each look: log lines are events too, and errors stand between them.
const HEARING: Duration = Duration::from_millis(20);
/// Looks for an answer: about ten seconds in all.
const LOOKS: u32 = 100;

/// The context of a client that looks at a cluster. What it hears comes out as one error: of the lines that say the same, for ten
/// seconds, only the first is one for whoever runs the service.
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
        if heard.cause.is_none() {
            tracing::warn!(reason, "the cluster has not answered yet");
        }
        if heard
            .cause
            .as_ref()
            .is_none_or(|(known, _)| rank(code) >= rank(*known))
        {
            heard.cause = Some((code, reason.to_owned()));
        }
    }

    /// What cannot pass by itself: the rights, or the certificates, are wrong.
    fn hopeless(&self) -> Option<Error> {
        let heard = lock(&self.0);
        let (code, reason) = heard
            .cause
            .as_ref()
            .filter(|(code, _)| rank(*code) == rank(Code::SSL))?;
        Some(described(*code, reason))
    }

    /// What was heard last that may be the cause.
    fn cause(&self) -> Option<Error> {
        let heard = lock(&self.0);
        heard
            .cause
            .as_ref()
            .map(|(code, reason)| described(*code, reason))
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
            "Check the address, whether its listener is meant for clients from here, and whether `tls` and the login are what this port wants",
        ),
    };
    Error::new(kind, "look up the cluster", message)
        .with("reason", reason)
        .remedy(remedy)
}

/// Waits until a broker answers. Blocks its thread.
///
/// # Errors
/// What stands in the way.
pub(crate) fn reach(settings: &Settings) -> Result<()> {
    let contact = Contact::default();
    let client: BaseProducer<Contact> = settings
        .contact()
        .create_with_context(contact.clone())
        .map_err(|error| error::of_client("open kafka", error))?;
    for _ in 0..LOOKS {
        if client.client().fetch_cluster_id(ANSWER).is_some() {
            return Ok(());
        }
        client.poll(HEARING);
        if let Some(error) = contact.hopeless() {
            return Err(error);
        }
    }
    Err(contact.cause().unwrap_or_else(silent))
}

/// Nothing was heard at all.
pub(crate) fn silent() -> Error {
    described(Code::BrokerTransportFailure, "no answer and no error")
}

impl ClientContext for Contact {
    fn log(&self, _: Level, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, message);
        // That the other side hangs up is only logged, with what may be wrong.
        if facility == "FAIL" {
            self.hear(Code::BrokerTransportFailure, message);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
        self.hear(error.rdkafka_error_code().unwrap_or(Code::Unknown), reason);
    }
}

impl ProducerContext for Contact {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
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
    }
}
