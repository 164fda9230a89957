//! The feature `kafka`: without it the error names it; with it, mistakes in the settings are found while they are read. And, as it
//! knows all backends then, what each of them can keep. An app on a real broker is here where the adapter alone does not do:
//! what it takes are features that the adapter must not know.

#[cfg(feature = "kafka")]
mod capabilities;
#[cfg(all(feature = "kafka", feature = "otel"))]
mod traces;

use dotmsg::{App, Config};

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill() {}

async fn reasons(file: &str) -> String {
    let config = Config::from_toml("dotmsg.toml", file).unwrap();
    let error = App::with_config(config)
        .handler(bill)
        .start()
        .await
        .unwrap_err();
    let reasons = std::error::Error::source(&error).map(ToString::to_string);
    let reasons = reasons.unwrap_or_else(|| error.to_string());
    assert!(!reasons.contains("canary"), "{reasons}");
    reasons
}

#[cfg(not(feature = "kafka"))]
#[tokio::test]
async fn the_feature_that_is_off_is_named() {
    let reasons = reasons("[backend.main]\nurl = 'kafka://u:canary@host:9092'").await;
    assert!(reasons.contains("feature `kafka`"), "{reasons}");
}

#[cfg(feature = "kafka")]
#[tokio::test]
async fn all_mistakes_are_told_with_their_places() {
    let file = "\
[backend.main]
url = 'kafka://u:canary@host:9092'
prefetch = '1MiB'
[backend.main.kafka]
acks = 1
session.timeout.m = 5
linger.ms = 'canary'
producer = 'canary'
passwrd = 'canary'
replication = 0
";
    let reasons = reasons(file).await;
    for said in [
        "dotmsg.toml:3: backend.main.prefetch: unknown key. It is a setting of the adapter: put it into [backend.main.kafka]",
        "dotmsg.toml:5: backend.main.kafka.acks: refused: ",
        "dotmsg.toml:6: backend.main.kafka.session.timeout.m: unknown key. Did you mean `session.timeout.ms`?",
        "dotmsg.toml:7: backend.main.kafka.linger.ms: expected a number from 0 to 900000",
        "dotmsg.toml:8: backend.main.kafka.producer: expected durable, low_latency or throughput",
        "dotmsg.toml:9: backend.main.kafka.passwrd: unknown key. Did you mean `password`?",
        "dotmsg.toml:10: backend.main.kafka.replication: expected \"broker\"",
    ] {
        assert!(reasons.contains(said), "{said}\nin\n{reasons}");
    }
}
