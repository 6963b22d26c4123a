//! The forms in which the lanes of a feed send a batch, and the memory that the forms take.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::output::{EncodingKey, Output};
use crate::pump::{Pump, PumpId, PumpRef};

/// A form in which lanes send a batch. Lanes of the same form share all chunks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Form {
    /// The pump and its stream; `None`: the records themselves.
    pub(crate) rows_of: Option<(PumpId, usize)>,
    pub(crate) key: EncodingKey,
}

/// One lane's way to a form.
#[derive(Clone)]
pub(crate) struct Encoder {
    pub(crate) form: Form,
    pub(crate) output: Arc<dyn Output>,
    pub(crate) pump: Option<PumpRef>,
}

/// One encoder of each form.
#[derive(Clone, Default)]
pub(crate) struct Encoders(BTreeMap<Form, Encoder>);

impl Encoder {
    /// The encoder of an output that sends the records, or the rows of `pump`.
    pub(crate) fn new(output: &Arc<dyn Output>, pump: Option<&PumpRef>) -> Self {
        let rows_of = pump.map(|of| (of.pump.id().clone(), of.stream));
        let form = Form {
            rows_of,
            key: output.encoding(),
        };
        Self {
            form,
            output: Arc::clone(output),
            pump: pump.cloned(),
        }
    }

    /// Bytes of the encodings of a batch of `records` records that take `bytes` bytes.
    fn encoded(&self, records: usize, bytes: usize) -> usize {
        match &self.pump {
            None => self.output.encoded_bound(records, bytes),
            Some(PumpRef { pump, .. }) => {
                let rows = pump.bound(records, bytes);
                self.output.encoded_bound(rows.rows, rows.bytes)
            }
        }
    }

    /// Bytes of the rows and encodings of a batch for this form alone.
    pub(crate) fn memory(&self, records: usize, bytes: usize) -> usize {
        let rows = self.pump.as_ref();
        let rows = rows.map_or(0, |of| of.pump.bound(records, bytes).bytes);
        rows.saturating_add(self.encoded(records, bytes))
    }
}

impl Encoders {
    /// Adds `encoder` if its form is new.
    pub(crate) fn add(&mut self, encoder: Encoder) {
        self.0.entry(encoder.form.clone()).or_insert(encoder);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Encoder> {
        self.0.values()
    }

    /// The pumps, each once.
    pub(crate) fn pumps(&self) -> BTreeMap<&PumpId, &Arc<dyn Pump>> {
        let pumps = self.iter().filter_map(|encoder| encoder.pump.as_ref());
        pumps.map(|of| (of.pump.id(), &of.pump)).collect()
    }

    /// The number of copies of a batch, about: its encodings, and the rows of its pumps.
    pub(crate) fn copies(&self) -> usize {
        self.0.len() + self.pumps().len()
    }

    /// Bytes of all rows and encodings of a batch of `records` records that take `bytes` bytes.
    pub(crate) fn memory(&self, records: usize, bytes: usize) -> usize {
        let encoded = self.iter().map(|encoder| encoder.encoded(records, bytes));
        let pumps = self.pumps();
        let rows = pumps.values().map(|pump| pump.bound(records, bytes).bytes);
        encoded.chain(rows).fold(0, usize::saturating_add)
    }
}

impl FromIterator<Encoder> for Encoders {
    fn from_iter<T: IntoIterator<Item = Encoder>>(encoders: T) -> Self {
        let mut all = Self::default();
        encoders.into_iter().for_each(|encoder| all.add(encoder));
        all
    }
}
