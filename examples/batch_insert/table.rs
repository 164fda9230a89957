//! The table, in this process: what a database would be behind one `INSERT` of many rows.
//!
//! A message that was handled may come again after a crash, so a row whose id is there changes nothing, as under
//! `ON CONFLICT DO NOTHING`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use dotmsg::Classify;

/// A row to insert.
pub(crate) struct Row {
    pub(crate) id: Vec<u8>,
    pub(crate) celsius: f64,
}

/// A table of readings with a primary key and a constraint.
#[derive(Default)]
pub(crate) struct Table(Mutex<Content>);

#[derive(Default)]
struct Content {
    rows: BTreeMap<Vec<u8>, f64>,
    statements: u32,
}

/// The constraint does not hold: it will not another time.
#[derive(Debug, Classify)]
#[classify(permanent, kind = "constraint")]
pub(crate) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row violates `celsius >= -273.15`")
    }
}

impl std::error::Error for Refused {}

impl Table {
    /// One statement: all rows, or none.
    pub(crate) fn insert(&self, rows: Vec<Row>) -> Result<(), Refused> {
        let mut content = self.0.lock().unwrap();
        content.statements += 1;
        if rows.iter().any(|row| row.celsius < -273.15) {
            return Err(Refused);
        }
        for row in rows {
            content.rows.entry(row.id).or_insert(row.celsius);
        }
        Ok(())
    }

    pub(crate) fn rows(&self) -> usize {
        self.0.lock().unwrap().rows.len()
    }

    pub(crate) fn statements(&self) -> u32 {
        self.0.lock().unwrap().statements
    }
}
