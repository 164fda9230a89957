//! Settings of a log, in code and as the strings of `[backend.<name>.log]`.
//!
//! Every limit has a unit and a default; a setting that is unknown or does not parse is refused with key and value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::assignor::Assignor;
use super::disk::{Disk, RealDisk};
use super::group::Rules;
use super::retention::Limits;
use crate::backend::{SettingList, WrongSetting};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind, Result};

/// When an append is confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// After fsync; appends that wait together share one (the default).
    #[default]
    Group,
    /// After the write: a power cut may lose confirmed records, the end of the process does not.
    Never,
}

/// What opening a log does when the end of a partition holds records that are known to be confirmed, and is damaged or
/// missing, or when the file of positions is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DamagedTail {
    /// Refuses to open the log (the default).
    #[default]
    Refuse,
    /// Goes on without them: what is there is kept beside the file. Groups whose positions are lost start anew. For one
    /// opening, after the operator has looked at it.
    Cut,
}

/// Settings of a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogOptions {
    /// Stamps records and drives retention by time.
    pub clock: Arc<dyn Clock>,
    /// Creates a topic that is published to or subscribed to and does not exist. Default false.
    pub auto_create: bool,
    /// Partitions of a topic created that way. Default 12.
    pub default_partitions: u32,
    /// How long records are kept, of topics that leave it to the log ([`Retention`](crate::backend::Retention)). Default:
    /// forever.
    pub retention: Option<Duration>,
    /// Bytes a partition keeps, at least its active segment, of the same topics. Default: no limit.
    pub retention_bytes: Option<u64>,
    /// Bytes after which a new segment begins, the unit of retention. Default 64 MiB. In memory a segment also ends
    /// after 1,024 records.
    pub segment_bytes: u64,
    /// When an append is confirmed. Default [`Fsync::Group`].
    pub fsync: Fsync,
    /// What becomes of a partition's end that was confirmed and is damaged. Default [`DamagedTail::Refuse`].
    pub on_damaged_tail: DamagedTail,
    /// Largest record: bytes of key, payload and headers. Default 16 MiB, at most 1 GiB.
    pub max_record_bytes: usize,
    /// How the partitions of a topic are shared among the members of a group. Default [`Assignor::CooperativeSticky`].
    pub assignor: Assignor,
    /// A member of a group that is silent for so long loses its partitions, and a static one that has gone its share. Nobody
    /// is judged while alone. Default 45 s, as in Kafka (`session.timeout.ms`).
    pub session_timeout: Duration,
    /// A member has so long from poll to poll, and to give up what the group asks it for. Default 5 min, as in Kafka
    /// (`max.poll.interval.ms`, which is its rebalance timeout too).
    pub poll_timeout: Duration,
    /// How long the positions of a group in a topic are kept while nobody is in it. The time counts while the log is open.
    /// Members that come later meet [`ErrorKind::PositionLost`], and `on_missing_position` says what then. Default: forever.
    pub position_retention: Option<Duration>,
    /// Seed of identities and grants. Default: none, they differ from run to run.
    pub seed: Option<u64>,
    /// Where files are written.
    pub(super) disk: Arc<dyn Disk>,
}

/// The largest record a batch's length field is allowed to promise.
const RECORD_CEILING: usize = 1 << 30;

/// Partitions of a topic at most: each costs memory and a file. As many as the configuration takes.
pub(super) const MAX_PARTITIONS: u32 = 10_000;

const PARTITIONS: &str = "a number from 1 to 10000";
const TIMEOUT: &str = "a duration above 0 like 45s";
/// Zero would let every restart lose the positions.
const POSITION_RETENTION: &str = "forever or a duration above 0 like 7d";
const RECORD_SIZE: &str = "a size from 1B to 1GiB";

/// Every key with its default, as a config file would have it.
const DEFAULTS: [(&str, &str); 13] = [
    ("assignor", "cooperative-sticky"),
    ("auto_create", "false"),
    ("default_partitions", "12"),
    ("fsync", "group"),
    ("max_record_bytes", "16MiB"),
    ("on_damaged_tail", "refuse"),
    ("poll_timeout", "5m"),
    ("position_retention", "forever"),
    ("retention", "forever"),
    ("retention_bytes", "none"),
    ("seed", "random"),
    ("segment_bytes", "64MiB"),
    ("session_timeout", "45s"),
];

/// The keys alone.
const KEYS: [&str; DEFAULTS.len()] = {
    let mut keys = [""; DEFAULTS.len()];
    let mut index = 0;
    while index < keys.len() {
        keys[index] = DEFAULTS[index].0;
        index += 1;
    }
    keys
};

impl LogOptions {
    /// What may be removed of a topic that says nothing.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            age: self.retention,
            bytes: self.retention_bytes,
        }
    }

    /// The rules of its groups.
    pub(super) fn group_rules(&self) -> Rules {
        Rules {
            assignor: self.assignor,
            session_timeout: self.session_timeout,
            poll_timeout: self.poll_timeout,
        }
    }

    /// The defaults, with this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            auto_create: false,
            default_partitions: 12,
            retention: None,
            retention_bytes: None,
            segment_bytes: 64 << 20,
            fsync: Fsync::Group,
            on_damaged_tail: DamagedTail::Refuse,
            max_record_bytes: 16 << 20,
            assignor: Assignor::default(),
            session_timeout: Duration::from_secs(45),
            poll_timeout: Duration::from_secs(300),
            position_retention: None,
            seed: None,
            disk: Arc::new(RealDisk),
        }
    }

    /// Takes the settings of a backend over, by key.
    ///
    /// # Errors
    /// An unknown key or a value that does not parse.
    pub fn with_settings(mut self, settings: &BTreeMap<String, String>) -> Result<Self> {
        for (key, value) in settings {
            self.set(key, value).map_err(|wrong| refused(key, &wrong))?;
        }
        self.check()?;
        Ok(self)
    }

    /// Refuses values that cannot work.
    pub(super) fn check(&self) -> Result<()> {
        match self.impossible() {
            Some((key, expected)) => Err(refused(key, &WrongSetting::Expected(expected.into()))),
            None => Ok(()),
        }
    }

    /// A value that cannot work: its key, and what can.
    fn impossible(&self) -> Option<(&'static str, &'static str)> {
        if !(1..=MAX_PARTITIONS).contains(&self.default_partitions) {
            return Some(("default_partitions", PARTITIONS));
        }
        if self.segment_bytes == 0 {
            return Some(("segment_bytes", "a size above 0"));
        }
        if self.session_timeout.is_zero() {
            return Some(("session_timeout", TIMEOUT));
        }
        if self.poll_timeout.is_zero() {
            return Some(("poll_timeout", TIMEOUT));
        }
        if self.position_retention.is_some_and(|kept| kept.is_zero()) {
            return Some(("position_retention", POSITION_RETENTION));
        }
        if self.max_record_bytes == 0 || self.max_record_bytes > RECORD_CEILING {
            return Some(("max_record_bytes", RECORD_SIZE));
        }
        None
    }

    fn set(&mut self, key: &str, value: &str) -> std::result::Result<(), WrongSetting> {
        match key {
            "assignor" => {
                self.assignor = Assignor::parse(value)
                    .ok_or_else(|| expected("range, round-robin, sticky or cooperative-sticky"))?;
            }
            "auto_create" => self.auto_create = parse(value, "true or false")?,
            "default_partitions" => self.default_partitions = parse(value, PARTITIONS)?,
            "fsync" => {
                self.fsync = match value {
                    "group" => Fsync::Group,
                    "never" => Fsync::Never,
                    _ => return Err(expected("group or never")),
                }
            }
            "max_record_bytes" => {
                let size = usize::try_from(size(value)?);
                self.max_record_bytes = size.map_err(|_| expected(RECORD_SIZE))?;
            }
            "on_damaged_tail" => {
                self.on_damaged_tail = match value {
                    "refuse" => DamagedTail::Refuse,
                    "cut" => DamagedTail::Cut,
                    _ => return Err(expected("refuse or cut")),
                }
            }
            "poll_timeout" => self.poll_timeout = timeout(value)?,
            "position_retention" => self.position_retention = retention(value)?,
            "retention" => self.retention = retention(value)?,
            "retention_bytes" => {
                self.retention_bytes = match value {
                    "none" => None,
                    _ => Some(size(value).map_err(|_| expected("none or a size like 10GiB"))?),
                }
            }
            "seed" => {
                self.seed = match value {
                    "random" => None,
                    _ => Some(parse(value, "random or a number")?),
                }
            }
            "session_timeout" => self.session_timeout = timeout(value)?,
            "segment_bytes" => self.segment_bytes = size(value)?,
            _ => return Err(WrongSetting::UnknownKey(&KEYS)),
        }
        Ok(())
    }

    /// The source of identities; a log that is opened again goes on with others.
    pub(super) fn rng(&self, opened: u64) -> fastrand::Rng {
        let seed = self.seed.map(|seed| seed.wrapping_add(opened));
        seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed)
    }
}

impl Default for LogOptions {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

/// What is wrong with one setting of `[backend.<name>.log]` or `.memory`, for the registry.
///
/// # Errors
/// An unknown key or an impossible value.
pub fn check_setting(key: &str, value: &str) -> std::result::Result<(), WrongSetting> {
    let mut options = LogOptions::default();
    options.set(key, value)?;
    // The others are the defaults, which are possible.
    match options.impossible() {
        Some((_, possible)) => Err(expected(possible)),
        None => Ok(()),
    }
}

/// The settings of `[backend.<name>.log]` and `.memory`, for the registry. None of them is a secret.
#[must_use]
pub fn setting_list() -> SettingList {
    SettingList {
        defaults: &DEFAULTS,
        may_show: |key| KEYS.contains(&key),
    }
}

fn parse<T: std::str::FromStr>(
    value: &str,
    possible: &str,
) -> std::result::Result<T, WrongSetting> {
    value.parse().map_err(|_| expected(possible))
}

fn retention(value: &str) -> std::result::Result<Option<Duration>, WrongSetting> {
    if value == "forever" {
        return Ok(None);
    }
    let kept = humantime::parse_duration(value);
    kept.map(Some)
        .map_err(|_| expected("forever or a duration like 7d"))
}

fn timeout(value: &str) -> std::result::Result<Duration, WrongSetting> {
    humantime::parse_duration(value).map_err(|_| expected(TIMEOUT))
}

fn size(value: &str) -> std::result::Result<u64, WrongSetting> {
    let size = value.parse::<bytesize::ByteSize>();
    size.map(|size| size.as_u64())
        .map_err(|_| expected("a size like 64MiB"))
}

fn expected(what: &str) -> WrongSetting {
    WrongSetting::Expected(what.to_owned())
}

fn refused(key: &str, wrong: &WrongSetting) -> Error {
    let (what, remedy) = match wrong {
        WrongSetting::UnknownKey(known) => {
            ("unknown setting", format!("Known: {}", known.join(", ")))
        }
        WrongSetting::Expected(expected) => (
            "this value is not possible",
            format!("Expected: {expected}"),
        ),
        WrongSetting::Refused(reason) => ("this setting is refused", reason.clone()),
    };
    Error::new(ErrorKind::Config, "open log", what)
        .with("setting", key)
        .remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(key: &str, value: &str) -> Result<LogOptions> {
        let settings = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        LogOptions::default().with_settings(&settings)
    }

    #[test]
    fn strings_become_settings() {
        assert_eq!(
            settings("segment_bytes", "2MiB").unwrap().segment_bytes,
            2 << 20
        );
        assert_eq!(settings("fsync", "never").unwrap().fsync, Fsync::Never);
        let limit = settings("retention_bytes", "1KiB").unwrap();
        assert_eq!(limit.retention_bytes, Some(1024));
        assert_eq!(settings("seed", "7").unwrap().seed, Some(7));
        let week = settings("retention", "7d").unwrap().retention;
        assert_eq!(week, Some(Duration::from_secs(7 * 86_400)));
    }

    #[test]
    fn the_listed_defaults_are_the_defaults() {
        let listed: BTreeMap<String, String> = DEFAULTS
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let listed = LogOptions::default().with_settings(&listed).unwrap();
        let defaults = LogOptions::default();
        assert_eq!(format!("{listed:?}"), format!("{defaults:?}"));
    }

    #[test]
    fn a_bad_setting_is_named_and_one_alone_is_checked_in_the_same_way() {
        for (key, value) in [
            ("fsync", "sometimes"),
            ("default_partitions", "0"),
            ("default_partitions", "4294967295"),
            ("retention", "soon"),
            ("position_retention", "0s"),
            ("session_timeout", "0s"),
            ("poll_timeout", "0s"),
            ("assignor", "fair"),
            ("max_record_bytes", "9GiB"),
            ("retention_bytes", "much"),
            ("seed", "x"),
        ] {
            let error = settings(key, value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(key), "{error}");
            let alone = check_setting(key, value);
            assert!(matches!(alone, Err(WrongSetting::Expected(_))), "{alone:?}");
        }
        assert_eq!(check_setting("segment_bytes", "2MiB"), Ok(()));
        let unknown = check_setting("segment_byte", "2MiB");
        assert_eq!(unknown, Err(WrongSetting::UnknownKey(&KEYS)));
        let error = settings("segment_byte", "1").unwrap_err().to_string();
        assert!(error.contains("segment_bytes"), "{error}");
    }
}
