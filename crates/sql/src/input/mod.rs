//! From records to rows, by an input schema.

mod coerce;
mod csv;
mod json;
mod path;
mod reader;
pub(crate) mod schema;

use std::collections::BTreeSet;

use bytes::Bytes;
use bytestring::ByteString;

use crate::catalog::{Column, METADATA};
use crate::run::processor::Record;
use crate::types::SqlType;
use crate::value::{ErrorName, RowError, Value};
use csv::{CsvFormat, CsvRows};
use json::{JsonFormat, JsonRows};
use schema::{Format, InputSchema};

/// Reads records of one schema. Only columns that the program needs are kept; others are checked,
/// so that a bad value kills the row even when unused.
#[derive(Debug)]
pub(crate) struct Decoder {
    columns: Vec<Target>,
    format: DecoderFormat,
    /// Which of the metadata columns are needed.
    metadata: [bool; METADATA.len()],
}

#[derive(Debug)]
enum DecoderFormat {
    Json(JsonFormat),
    Csv(CsvFormat),
}

/// A declared column, and whether the value is kept.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) sql_type: SqlType,
    pub(crate) needed: bool,
}

/// The metadata of a record and the ROWTIME.
pub(crate) struct Metadata<'a> {
    pub(crate) record: &'a Record<'a>,
    pub(crate) time: i64,
}

impl Decoder {
    /// `needed` holds places in the row: 0 is the ROWTIME, 1 the first declared column.
    pub(crate) fn new(
        schema: &InputSchema,
        columns: &[Column],
        needed: &BTreeSet<usize>,
    ) -> Result<Self, String> {
        let targets: Vec<Target> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| Target {
                sql_type: column.sql_type.clone(),
                needed: needed.contains(&(index + 1)),
            })
            .collect();
        let format = match &schema.format {
            Format::Json { row_path } => {
                let mappings = schema.mappings();
                DecoderFormat::Json(JsonFormat::new(row_path, &mappings, &targets)?)
            }
            Format::Csv { column, row } => {
                let format = CsvFormat::new(column, row)?;
                DecoderFormat::Csv(format)
            }
        };

        let mut metadata = [false; METADATA.len()];
        for (place, wanted) in metadata.iter_mut().enumerate() {
            *wanted = needed.contains(&(1 + columns.len() + place));
        }
        Ok(Self {
            columns: targets,
            format,
            metadata,
        })
    }

    /// The rows of a record.
    pub(crate) fn record(&self, data: &Bytes) -> Decoding<'_> {
        let rows = match ByteString::try_from(data.clone()) {
            Err(_) => Rows::NotText,
            Ok(text) => match &self.format {
                DecoderFormat::Json(format) => {
                    let rows = JsonRows::new(format, text);
                    Rows::Json(rows)
                }
                DecoderFormat::Csv(format) => {
                    let rows = CsvRows::new(format, text);
                    Rows::Csv(rows)
                }
            },
        };
        Decoding {
            decoder: self,
            rows,
        }
    }

    fn clear(&self, row: &mut Vec<Value>) {
        row.clear();
        row.resize(1 + self.columns.len() + METADATA.len(), Value::Null);
    }

    /// Fills ROWTIME and the metadata that the program needs.
    pub(crate) fn put_metadata(&self, row: &mut [Value], metadata: &Metadata<'_>) {
        if let Some(time) = row.first_mut() {
            *time = Value::Timestamp(metadata.time);
        }

        let first = 1 + self.columns.len();
        let places = row.iter_mut().skip(first);
        for (index, (place, needed)) in places.zip(self.metadata).enumerate() {
            if needed {
                *place = metadata.record.metadata(index);
            }
        }
    }
}

/// The rows of one record, one after the other.
pub(crate) struct Decoding<'a> {
    decoder: &'a Decoder,
    rows: Rows<'a>,
}

enum Rows<'a> {
    Json(JsonRows<'a>),
    Csv(CsvRows<'a>),
    /// The data are not UTF-8.
    NotText,
    Done,
}

impl Decoding<'_> {
    /// Fills `row` with the next row. `Err` when it died; `None` after the last one. The row must
    /// not be changed between calls but for ROWTIME and metadata: the elements of a flattened array
    /// share it.
    pub(crate) fn next_row(&mut self, row: &mut Vec<Value>) -> Option<Result<(), RowError>> {
        match &mut self.rows {
            Rows::Json(rows) => rows.next_row(self.decoder, row),
            Rows::Csv(rows) => rows.next_row(self.decoder, row),
            Rows::NotText => {
                self.rows = Rows::Done;
                let message = "the record is not UTF-8";
                Some(Err(RowError::new(ErrorName::Parse, message)))
            }
            Rows::Done => None,
        }
    }
}
