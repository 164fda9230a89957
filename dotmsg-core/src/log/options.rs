//! Settings of a log, in code and as the strings of `[backend.<name>.log]`.
//!
//! Every limit has a unit and a default; a setting that is unknown or does not parse is refused with key and value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, RealDisk};
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
/// missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DamagedTail {
    /// Refuses to open the log (the default).
    #[default]
    Refuse,
    /// Goes on without them: what is there is kept beside the file. For one opening, after the operator has looked at it.
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
    /// How long records are kept, of topics that do not say so themselves. Default: forever.
    pub retention: Option<Duration>,
    /// Bytes a partition keeps, at least its active segment. Default: no limit.
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
    /// Seed of identities and grants. Default: none, they differ from run to run.
    pub seed: Option<u64>,
    /// Where files are written.
    pub(super) disk: Arc<dyn Disk>,
}

/// The largest record a batch's length field is allowed to promise.
const RECORD_CEILING: usize = 1 << 30;

const KEYS: [&str; 9] = [
    "auto_create",
    "default_partitions",
    "fsync",
    "max_record_bytes",
    "on_damaged_tail",
    "retention",
    "retention_bytes",
    "seed",
    "segment_bytes",
];

impl LogOptions {
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
            seed: None,
            disk: Arc::new(RealDisk),
        }
    }

    /// Takes the settings of a backend over, by key.
    ///
    /// # Errors
    /// An unknown key (names the nearest) or a value that does not parse.
    pub fn with_settings(mut self, settings: &BTreeMap<String, String>) -> Result<Self> {
        for (key, value) in settings {
            self.set(key, value)?;
        }
        self.check()?;
        Ok(self)
    }

    /// Refuses values that cannot work.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |key, value: String, expected| Err(refused(key, &value, expected));
        if self.default_partitions == 0 {
            return refuse("default_partitions", "0".into(), "a number from 1");
        }
        if self.segment_bytes == 0 {
            return refuse("segment_bytes", "0".into(), "a size above 0");
        }
        if self.max_record_bytes == 0 || self.max_record_bytes > RECORD_CEILING {
            let value = self.max_record_bytes.to_string();
            return refuse("max_record_bytes", value, "a size from 1B to 1GiB");
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "auto_create" => self.auto_create = parse(key, value, "true or false")?,
            "default_partitions" => {
                self.default_partitions = parse(key, value, "a number from 1")?;
            }
            "fsync" => {
                self.fsync = match value {
                    "group" => Fsync::Group,
                    "never" => Fsync::Never,
                    _ => return Err(refused(key, value, "group or never")),
                }
            }
            "max_record_bytes" => {
                self.max_record_bytes = usize::try_from(size(key, value)?)
                    .map_err(|_| refused(key, value, "a size from 1B to 1GiB"))?;
            }
            "on_damaged_tail" => {
                self.on_damaged_tail = match value {
                    "refuse" => DamagedTail::Refuse,
                    "cut" => DamagedTail::Cut,
                    _ => return Err(refused(key, value, "refuse or cut")),
                }
            }
            "retention" => {
                self.retention = match value {
                    "forever" => None,
                    _ => Some(
                        humantime::parse_duration(value)
                            .map_err(|_| refused(key, value, "forever or a duration like 7d"))?,
                    ),
                }
            }
            "retention_bytes" => self.retention_bytes = Some(size(key, value)?),
            "seed" => self.seed = Some(parse(key, value, "a number")?),
            "segment_bytes" => self.segment_bytes = size(key, value)?,
            _ => return Err(unknown(key, value)),
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

fn parse<T: std::str::FromStr>(key: &str, value: &str, expected: &'static str) -> Result<T> {
    value.parse().map_err(|_| refused(key, value, expected))
}

fn size(key: &str, value: &str) -> Result<u64> {
    value
        .parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| refused(key, value, "a size like 64MiB"))
}

fn refused(key: &str, value: &str, expected: &'static str) -> Error {
    Error::new(ErrorKind::Config, "open log", "this value is not possible")
        .with("setting", key)
        .with("value", value)
        .remedy(format!("Expected: {expected}"))
}

fn unknown(key: &str, value: &str) -> Error {
    let near = KEYS
        .into_iter()
        .min_by_key(|known| strsim::damerau_levenshtein(known, key))
        .unwrap_or(KEYS[0]);
    Error::new(ErrorKind::Config, "open log", "unknown setting")
        .with("setting", key)
        .with("value", value)
        .remedy(format!("Did you mean `{near}`?"))
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
        let week = settings("retention", "7d").unwrap().retention;
        assert_eq!(week, Some(Duration::from_secs(7 * 86_400)));
    }

    #[test]
    fn a_bad_setting_is_named_with_its_value() {
        for (key, value) in [
            ("fsync", "sometimes"),
            ("default_partitions", "0"),
            ("retention", "soon"),
            ("max_record_bytes", "9GiB"),
            ("seed", "x"),
        ] {
            let error = settings(key, value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(key), "{error}");
        }
        let error = settings("segment_byte", "1").unwrap_err().to_string();
        assert!(error.contains("`segment_bytes`"), "{error}");
    }
}
