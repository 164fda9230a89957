//! The input: a CSV file, plain or gzip, as flights.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use crate::handlers::Flight;
use crate::journal::named;

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

/// The rows of the file in order, numbered from 1.
///
/// # Errors
/// The file cannot be opened; then, per row, it cannot be read or is not what is expected.
pub(crate) fn flights(
    path: &Path,
) -> io::Result<impl Iterator<Item = Result<Flight, Box<dyn Error + Send + Sync>>> + Send> {
    let file = File::open(path).map_err(|error| named(path, &error))?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let bytes: Box<dyn Read + Send> = if packed {
        Box::new(MultiGzDecoder::new(BufReader::new(file)))
    } else {
        Box::new(file)
    };
    let lines = csv::Reader::from_reader(bytes).into_deserialize();
    let path = path.display().to_string();
    Ok((1..).zip(lines).map(move |(row, line)| {
        let flight = line
            .map_err(|error| error.to_string())
            .and_then(|line| flight(row, line));
        flight.map_err(|error| format!("{path}, row {row}: {error}").into())
    }))
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
