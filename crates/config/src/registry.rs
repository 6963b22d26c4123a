//! The kinds of sources and outputs that a program has.

use distributary_adapters::keys::Key;
use distributary_adapters::kind::Kind;
use distributary_adapters::outputs::{self, OutputSettings};
use distributary_adapters::sources::{self, SourceSettings};

use crate::keys;

/// The kinds of sources and outputs.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The default kind first.
    pub sources: Vec<Kind<SourceSettings>>,
    /// The default kind first.
    pub outputs: Vec<Kind<OutputSettings>>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            sources: sources::KINDS.to_vec(),
            outputs: outputs::KINDS.to_vec(),
        }
    }
}

impl Registry {
    /// Keys of kinds that may be written at the top of the file, or in a fan-out, for all outputs
    /// and sources together; each name once.
    pub fn inherited_keys(&self) -> Vec<&'static Key> {
        let of_sources = self.sources.iter().map(|kind| kind.keys);
        let of_outputs = self.outputs.iter().map(|kind| kind.keys);
        let mut found: Vec<&'static Key> = Vec::new();
        for key in of_outputs.chain(of_sources).flatten() {
            let is_new = keys::find(&found, key.name).is_none();
            if key.is_inherited() && is_new {
                found.push(key);
            }
        }
        found
    }

    /// Keys of a fan-out, with the inherited keys of the kinds.
    pub fn fan_out_keys(&self) -> Vec<&'static Key> {
        keys::FAN_OUT
            .iter()
            .chain(keys::DELIVERY)
            .chain(self.inherited_keys())
            .collect()
    }

    /// Keys at the top of the file, which are also flags and environment variables.
    pub fn top_keys(&self) -> Vec<&'static Key> {
        let mut top = self.fan_out_keys();
        top.extend(keys::PROCESS);
        top
    }
}
