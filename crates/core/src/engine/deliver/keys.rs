//! The partition keys whose order a record takes part in: the record's own, and the keys of the
//! records within an aggregate.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// The keys of one record. Empty for a record that has no order to keep.
pub(super) struct Keys<'a> {
    pub(super) own: Option<&'a str>,
    pub(super) inner: Vec<Box<str>>,
}

/// Keys of which a record has to wait.
#[derive(Debug, Default)]
pub(super) struct KeySet<'a>(BTreeSet<Cow<'a, str>>);

impl<'a> KeySet<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if the set has one of `keys`.
    pub(super) fn touches(&self, keys: &Keys<'_>) -> bool {
        let mut all = keys
            .own
            .into_iter()
            .chain(keys.inner.iter().map(|key| &**key));
        !self.is_empty() && all.any(|key| self.0.contains(key))
    }

    /// A record that has to wait makes the later records of all its keys wait.
    pub(super) fn add(&mut self, keys: Keys<'a>) {
        self.0.extend(keys.own.map(Cow::Borrowed));
        let inner = keys.inner.into_iter().map(String::from);
        self.0.extend(inner.map(Cow::Owned));
    }
}
