//! The input: a CSV file, plain or gzip, as flights.
//!
//! All of it is read once before anything is published: what cannot be read to its end, has another header or no rows must
//! not leave half of itself in the log, or a note that an empty input is published.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::CrcReader;
use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::handlers::Flight;
use crate::journal::named;

/// Which input it is: two files of the same size and checksum (CRC-32) are taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    bytes: u64,
    crc: u32,
}

/// The columns that are read: the fields of [`Line`].
const COLUMNS: [&str; 8] = [
    "dep_time", "carrier", "flight", "tailnum", "origin", "dest", "air_time", "distance",
];

/// A line of the file; `NA` is what it says where a value is missing.
#[derive(Deserialize)]
struct Line {
    dep_time: String,
    carrier: String,
    flight: u32,
    tailnum: String,
    origin: String,
    dest: String,
    air_time: String,
    distance: u64,
}

/// An input that was read to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    pub(crate) path: &'a Path,
    pub(crate) identity: Identity,
}

impl<'a> Input<'a> {
    /// Reads it to its end.
    ///
    /// # Errors
    /// It cannot be opened or read, its header lacks a column, a row is not what is expected, or there is none.
    pub(crate) fn check(path: &'a Path) -> Result<Self, Failure> {
        let mut rows = 0_u64;
        for flight in flights(path)? {
            flight?;
            rows += 1;
        }
        if rows == 0 {
            return Err(format!("{}: it has a header and no rows", path.display()).into());
        }
        let identity = identity(path).map_err(|error| named(path, &error))?;
        Ok(Self { path, identity })
    }

    /// Its rows again.
    ///
    /// # Errors
    /// As a whole, then per row: it cannot be read any more.
    pub(crate) fn flights(&self) -> Result<impl Iterator<Item = Row> + Send + use<>, Failure> {
        flights(self.path)
    }
}

/// A row of the input, or what is wrong with it.
type Row = Result<Flight, Failure>;

fn identity(path: &Path) -> io::Result<Identity> {
    let mut file = CrcReader::new(File::open(path)?);
    let bytes = io::copy(&mut file, &mut io::sink())?;
    let crc = file.crc().sum();
    Ok(Identity { bytes, crc })
}

/// The rows of the file in order, numbered from 1.
///
/// # Errors
/// The file or its header cannot be read; then, per row, it cannot be read or is not what is expected.
fn flights(path: &Path) -> Result<impl Iterator<Item = Row> + Send + use<>, Failure> {
    let file = File::open(path).map_err(|error| named(path, &error))?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let bytes: Box<dyn Read + Send> = if packed {
        Box::new(MultiGzDecoder::new(BufReader::new(file)))
    } else {
        Box::new(file)
    };
    let mut reader = csv::Reader::from_reader(bytes);
    let path = path.display().to_string();
    // Asked for by itself: an iterator over a file whose header cannot be read is an empty one.
    let header = reader.headers().map_err(|error| format!("{path}: {error}"));
    complete(&path, header?)?;
    let lines = reader.into_deserialize();
    Ok((1..).zip(lines).map(move |(row, line)| {
        let flight = line
            .map_err(|error| error.to_string())
            .and_then(|line| flight(row, line));
        flight.map_err(|error| format!("{path}, row {row}: {error}").into())
    }))
}

/// Whether the header has every column that is read.
fn complete(path: &str, header: &csv::StringRecord) -> Result<(), Failure> {
    let missing: Vec<&str> = COLUMNS
        .iter()
        .copied()
        .filter(|column| !header.iter().any(|name| name == *column))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(format!("{path}: its first line is not the header of flights; it lacks {missing}").into())
}

fn flight(row: u64, line: Line) -> Result<Flight, String> {
    Ok(Flight {
        row,
        carrier: line.carrier,
        flight: line.flight,
        dep_time: number("dep_time", &line.dep_time)?,
        air_time: number("air_time", &line.air_time)?,
        tail: Some(line.tailnum).filter(|tail| tail != "NA"),
        origin: line.origin,
        dest: line.dest,
        distance: line.distance,
    })
}

fn number(column: &str, text: &str) -> Result<Option<u32>, String> {
    if text == "NA" {
        return Ok(None);
    }
    let number = text.parse();
    number
        .map(Some)
        .map_err(|error| format!("{column} is neither NA nor a number: {error}"))
}
