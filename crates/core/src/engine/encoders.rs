//! The forms in which the lanes of a feed send a batch, and the memory that the forms take.

use std::collections::{BTreeMap, BTreeSet};
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

/// The forms and rows of a batch that are made with it, in memory that is reserved with it: the
/// forms that lanes share, and the rows of every pump. A form of one lane alone is encoded request
/// by request in memory of its own (`encodings`), so that a read does not shrink with the number of
/// different encodings.
#[derive(Clone, Default)]
pub(crate) struct Encoders {
    shared: BTreeMap<Form, Encoder>,
    pumps: BTreeMap<PumpId, Arc<dyn Pump>>,
}

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
    /// The forms that lanes share.
    pub(crate) fn forms(&self) -> impl Iterator<Item = &Form> {
        self.shared.keys()
    }

    /// The pumps, each once.
    pub(crate) fn pumps(&self) -> &BTreeMap<PumpId, Arc<dyn Pump>> {
        &self.pumps
    }

    /// Leaves out the forms that are not `wanted`.
    pub(crate) fn retain_forms(&mut self, wanted: impl Fn(&Form) -> bool) {
        self.shared.retain(|form, _| wanted(form));
    }

    fn add_rows_of(&mut self, encoder: &Encoder) {
        if let Some(PumpRef { pump, .. }) = &encoder.pump {
            let pumps = &mut self.pumps;
            pumps.entry(pump.id().clone()).or_insert(Arc::clone(pump));
        }
    }

    /// Bytes of all rows and shared encodings of a batch of `records` records that take `bytes`
    /// bytes.
    pub(crate) fn memory(&self, records: usize, bytes: usize) -> usize {
        let mut memory = 0_usize;
        for encoder in self.shared.values() {
            let encoded = encoder.encoded(records, bytes);
            memory = memory.saturating_add(encoded);
        }
        for pump in self.pumps.values() {
            let rows = pump.bound(records, bytes);
            memory = memory.saturating_add(rows.bytes);
        }
        memory
    }
}

/// Collects the encoders of all lanes, and keeps the forms that at least two of the lanes have.
impl FromIterator<Encoder> for Encoders {
    fn from_iter<T: IntoIterator<Item = Encoder>>(encoders: T) -> Self {
        let mut met: BTreeSet<Form> = BTreeSet::new();
        let mut all = Self::default();

        for encoder in encoders {
            all.add_rows_of(&encoder);
            if !met.insert(encoder.form.clone()) {
                all.shared.entry(encoder.form.clone()).or_insert(encoder);
            }
        }
        all
    }
}
