//! The filter of an output.

use std::sync::Arc;

use distributary_adapters::values::{Expected, Texts, word};
use distributary_filter::{FilterPump, Glob, OnNotJson};

const ON_NOT_JSON: &[(&str, OnNotJson)] = &[("drop", OnNotJson::Drop), ("pass", OnNotJson::Pass)];

/// The keys of a filter as they were written.
pub(crate) struct Wanted {
    pub(crate) patterns: Option<Texts>,
    pub(crate) keys: Option<Glob>,
    pub(crate) on_not_json: Option<String>,
}

impl Wanted {
    /// The filter; `None` if every record passes.
    pub(crate) fn filter(&self) -> Result<Option<Arc<FilterPump>>, Expected> {
        let on_not_json = self.on_not_json()?;

        let patterns = self.patterns()?;
        if self.keys.is_none() && patterns.is_empty() {
            return Ok(None);
        }

        let keys = self.keys.clone();
        FilterPump::new(keys, patterns, on_not_json)
            .map(Arc::new)
            .map(Some)
            .map_err(|bad| Expected(format!("key filter: {bad}")))
    }

    fn patterns(&self) -> Result<&[String], Expected> {
        match self.patterns.as_ref().map(Texts::as_slice) {
            Some([]) => Err(Expected::new("key filter: expected a pattern")),
            Some(patterns) => Ok(patterns),
            None => Ok(&[]),
        }
    }

    fn on_not_json(&self) -> Result<OnNotJson, Expected> {
        match &self.on_not_json {
            None => Ok(OnNotJson::Drop),
            Some(_) if self.patterns.is_none() => {
                Err(Expected::new("key on-not-json: needs the key filter"))
            }
            Some(text) => word(text, ON_NOT_JSON),
        }
    }
}
