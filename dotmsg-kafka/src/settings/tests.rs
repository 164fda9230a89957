//! Whole settings: which client gets what, what is wrong at once, and that no secret gets out.

use std::sync::Arc;

use dotmsg_core::clock::SystemClock;

use super::*;

const CANARY: &str = "canary-7";

fn options(url: &str, settings: &[(&str, &str)]) -> BackendOptions {
    let settings = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    BackendOptions {
        name: "main".into(),
        url: url.into(),
        settings,
        clock: Arc::new(SystemClock),
    }
}

fn settings(settings: &[(&str, &str)]) -> Settings {
    Settings::of(&options("kafka://h:1", settings)).unwrap()
}

fn refused(url: &str, settings: &[(&str, &str)]) -> String {
    let error = Settings::of(&options(url, settings)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = format!("{error} {error:?}");
    assert!(!text.contains(CANARY), "{text}");
    text
}

#[test]
fn each_client_gets_what_it_takes_and_no_more() {
    let settings = settings(&[
        ("linger.ms", "1"),
        ("session.timeout.ms", "9000"),
        ("client.rack", "a"),
    ]);
    let (member, producer, admin) = (
        settings.member("g", "t", Some("i")),
        settings.producer(),
        settings.admin(),
    );
    assert_eq!(
        (
            member.get("linger.ms"),
            producer.get("linger.ms"),
            admin.get("linger.ms")
        ),
        (None, Some("1"), None)
    );
    assert_eq!(
        (
            member.get("session.timeout.ms"),
            producer.get("session.timeout.ms")
        ),
        (Some("9000"), None)
    );
    assert_eq!(admin.get("session.timeout.ms"), None);
    for client in [&member, &producer, &admin] {
        assert_eq!(client.get("client.rack"), Some("a"));
        client.create_native_config().unwrap();
    }
    assert_eq!(member.get("group.instance.id"), Some("i.t"));
    assert_eq!(producer.get("acks"), Some("all"));
}

#[test]
fn a_property_under_its_other_name_counts_instead_of_the_profile_s() {
    let producer =
        settings(&[("queue.buffering.max.ms", "1"), ("producer", "throughput")]).producer();
    assert_eq!(
        (
            producer.get("linger.ms"),
            producer.get("queue.buffering.max.ms")
        ),
        (Some("1"), None)
    );
    assert_eq!(producer.get("queue.buffering.max.kbytes"), Some("262144"));
}

#[test]
fn a_batch_lingers_as_the_producer_is_told() {
    let micros = |given: &[(&str, &str)]| settings(given).batches().linger.as_micros();
    assert_eq!(micros(&[]), 5_000);
    assert_eq!(micros(&[("producer", "low_latency")]), 0);
    assert_eq!(micros(&[("linger.ms", "0.5")]), 500);
    assert_eq!(micros(&[("queue.buffering.max.ms", "50.5")]), 50_500);
}

#[test]
fn what_is_fetched_ahead_is_bounded() {
    let bounds = |given: &[(&str, &str)]| {
        let member = settings(given).member("g", "t", None);
        let bound = |name: &str| member.get(name).unwrap().to_owned();
        (
            bound("queued.max.messages.kbytes"),
            bound("fetch.max.bytes"),
        )
    };
    assert_eq!(bounds(&[]), ("16384".into(), "16777216".into()));
    assert_eq!(
        bounds(&[("prefetch", "2MiB")]),
        ("2048".into(), "2097152".into())
    );
    assert_eq!(
        bounds(&[("prefetch", "64KiB")]),
        ("64".into(), "1000000".into())
    );
    assert_eq!(
        bounds(&[("consumer", "throughput")]),
        ("65536".into(), "52428800".into())
    );
    assert_eq!(
        bounds(&[("queued.max.messages.kbytes", "9000")]),
        ("9000".into(), "9216000".into())
    );
}

#[test]
fn the_group_protocol_of_the_broker_gets_nothing_of_the_classic_one() {
    let settings = settings(&[("group.protocol", "consumer")]);
    assert_eq!(
        settings
            .member("g", "t", None)
            .get("partition.assignment.strategy"),
        None
    );
    assert_eq!(
        settings.member("g", "t", None).get("group.protocol"),
        Some("consumer")
    );
    assert_eq!(settings.reader().get("group.protocol"), None);
}

#[test]
fn everything_wrong_is_named_at_once() {
    let text = refused(
        "kafka://h:1",
        &[
            ("acks", "1"),
            ("linger", CANARY),
            ("session.timeout.ms", "0"),
            ("producer", CANARY),
            ("password", CANARY),
            ("ca_file", CANARY),
        ],
    );
    for part in [
        "`acks` is refused",
        "did you mean `linger.ms`",
        "from 1 to 3600000",
        "`producer`",
        "`username`",
        "tls = true",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_login_becomes_properties() {
    let of =
        |url: &str, given: &[(&str, &str)]| Settings::of(&options(url, given)).unwrap().producer();
    let scram = of("kafka://app:p%40w@h:1", &[("tls", "true")]);
    assert_eq!(scram.get("security.protocol"), Some("sasl_ssl"));
    assert_eq!(scram.get("sasl.mechanisms"), Some("SCRAM-SHA-512"));
    assert_eq!(
        (scram.get("sasl.username"), scram.get("sasl.password")),
        (Some("app"), Some("p@w"))
    );
    assert_eq!(scram.get("metadata.broker.list"), Some("h:1"));
    let plain = [
        ("username", "u"),
        ("password", "p"),
        ("sasl_mechanism", "PLAIN"),
    ];
    let plain = of("kafka://h:1", &plain);
    assert_eq!(plain.get("security.protocol"), Some("sasl_plaintext"));
    assert_eq!(plain.get("sasl.mechanisms"), Some("PLAIN"));
    assert_eq!(
        of("kafka://h:1", &[("tls", "true")]).get("security.protocol"),
        Some("ssl")
    );
    assert_eq!(of("kafka://h:1", &[]).get("security.protocol"), None);
}

#[test]
fn a_password_file_holds_one_line() {
    let file = std::env::temp_dir().join(format!("dotmsg-kafka-password-{}", std::process::id()));
    let name = file.to_str().unwrap();
    let given = [("username", "u"), ("password_file", name)];
    for (text, password) in [
        ("p w", Some("p w")),
        ("p\n", Some("p")),
        ("p\r\n", Some("p")),
        ("\n", None),
        ("canary-7\nq\n", None),
    ] {
        std::fs::write(&file, text).unwrap();
        match password {
            Some(password) => assert_eq!(
                settings(&given).producer().get("sasl.password"),
                Some(password)
            ),
            None => assert!(refused("kafka://h:1", &given).contains("password_file")),
        }
    }
    std::fs::remove_file(&file).unwrap();
    assert!(refused("kafka://h:1", &given).contains(name));
}

#[test]
fn nothing_printable_holds_a_secret() {
    let secrets = [
        "sasl.password",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
        "sasl.oauthbearer.config",
    ];
    let given: Vec<_> = secrets
        .iter()
        .map(|name| (*name, CANARY))
        .chain([("sasl.username", "u")])
        .collect();
    let by_key = settings(&given);
    let by_url = Settings::of(&options("kafka://u:canary-7@h:1", &[])).unwrap();
    for settings in [by_key, by_url] {
        assert!(!format!("{settings:?}").contains(CANARY), "{settings:?}");
    }
}

#[test]
fn the_reference_file_shows_every_key_with_its_default() {
    use dotmsg_core::config::{Config, RouteDefaults};

    let file = include_str!("../../../docs/reference.toml");
    let config = Config::from_toml("reference.toml", file)
        .unwrap()
        .set("backend.main.url", "kafka://h:1");
    let handler = RouteDefaults::new("bill").batches();
    let resolved = config.resolve(&[handler]).unwrap();
    let documented = &resolved.backends[0].settings;
    assert!(documented.keys().eq(own::KEYS), "{documented:?}");
    let mut own = Own::default();
    for (key, value) in documented {
        own.set(key, value).unwrap();
    }
    assert_eq!(own, Own::default());
    let whole = BackendOptions {
        settings: documented.clone(),
        ..options("kafka://h:1", &[])
    };
    Settings::of(&whole).unwrap();
}

#[test]
fn two_topics_of_a_group_are_two_static_members() {
    let settings = settings(&[]);
    let id = |topic| {
        let member = settings.member("g", topic, Some("i"));
        member.get("group.instance.id").map(str::to_owned)
    };
    assert_ne!(id("a"), id("b"));
}

#[test]
fn a_reader_has_no_timeout_of_a_membership() {
    for given in [
        [
            ("group.protocol", "consumer"),
            ("max.poll.interval.ms", "8000"),
        ],
        [
            ("session.timeout.ms", "6000"),
            ("max.poll.interval.ms", "8000"),
        ],
    ] {
        let reader = settings(&given).reader();
        assert_eq!(reader.get("max.poll.interval.ms"), None);
        reader.create_native_config().unwrap();
    }
}
