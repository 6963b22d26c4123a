//! A filter as a pump: the rows are the records that match, unchanged.

use std::borrow::Cow;
use std::fmt::Write;

use distributary_core::batch::Batch;
use distributary_core::pump::{BadRow, Derived, Pump, PumpId, RowBound};
use distributary_core::record::{DataForm, Record};

use crate::event::{Decision, Filter};
use crate::glob::Glob;

/// The treatment of records whose data are not a JSON object, where a pattern names members of the
/// data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNotJson {
    /// Such a record is left out, as AWS Lambda does.
    #[default]
    Drop,
    /// Such a record is passed on.
    Pass,
}

/// Passes on the records whose keys and data match.
#[derive(Debug)]
pub struct FilterPump {
    id: PumpId,
    keys: Option<Glob>,
    filter: Option<Filter>,
    on_not_json: OnNotJson,
}

/// Filters with the same settings are equal.
impl PartialEq for FilterPump {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl FilterPump {
    /// A pump for records with a partition key that `keys` stand for, and with data that one of
    /// `patterns` matches; an empty list matches all.
    ///
    /// # Errors
    /// The first defect of a pattern.
    pub fn new(
        keys: Option<Glob>,
        patterns: &[String],
        on_not_json: OnNotJson,
    ) -> Result<Self, crate::BadPattern> {
        let filter = match patterns {
            [] => None,
            _ => Some(Filter::compile(patterns)?),
        };
        Ok(Self {
            id: id(keys.as_ref(), patterns, on_not_json),
            keys,
            filter,
            on_not_json,
        })
    }

    fn passes(&self, batch: &Batch, record: &Record<'_>) -> bool {
        if !self.key_matches(record) {
            return false;
        }
        let Some(filter) = &self.filter else {
            return true;
        };

        // Data that cannot be read are left to the output, which refuses them.
        let Some(data) = data_of(record) else {
            return true;
        };
        match filter.decide(batch.origin(), record, &data) {
            Decision::Match => true,
            Decision::No => false,
            Decision::NotJson => self.on_not_json == OnNotJson::Pass,
        }
    }

    fn key_matches(&self, record: &Record<'_>) -> bool {
        let Some(keys) = &self.keys else {
            return true;
        };

        match record.key {
            Some(key) => keys.matches(key),
            None => false,
        }
    }
}

/// The record's data themselves; `None` if they are not the base64 that they should be.
fn data_of<'a>(record: &Record<'a>) -> Option<Cow<'a, [u8]>> {
    match record.form {
        DataForm::Raw => Some(record.data.into()),
        DataForm::Base64 => {
            let decoded = base64_simd::STANDARD.decode_to_vec(record.data);
            decoded.ok().map(Cow::Owned)
        }
    }
}

/// Equal for equal filters alone.
fn id(keys: Option<&Glob>, patterns: &[String], on_not_json: OnNotJson) -> PumpId {
    let text = format!("{keys:?} {patterns:?} {on_not_json:?}");
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut id = "filter-".to_owned();
    for byte in hash.as_ref() {
        // Writing to a String does not fail.
        let _ = write!(id, "{byte:02x}");
    }
    PumpId::new(&id)
}

impl Pump for FilterPump {
    fn id(&self) -> &PumpId {
        &self.id
    }

    fn streams(&self) -> usize {
        1
    }

    fn bound(&self, records: usize, bytes: usize) -> RowBound {
        RowBound {
            rows: records,
            bytes: bytes + records * size_of::<u32>(),
        }
    }

    fn apply(&self, batch: &Batch) -> Result<Vec<Derived>, BadRow> {
        let mut passed = Vec::new();
        for (index, record) in batch.iter().enumerate() {
            if self.passes(batch, &record) {
                let index = u32::try_from(index)?;
                passed.push(index);
            }
        }

        let derived = Derived::of_records(batch, passed);
        Ok(vec![derived])
    }
}
