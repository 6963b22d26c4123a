//! Making aggregates: of user records of one shard.

use std::collections::BTreeMap;

use md5::{Digest, Md5};

use super::protobuf::{Fields, field_len, varint_len, write_head, write_number};
use super::{
    BYTES_MIN, DATA, HASH_KEY_INDEX, HASH_KEY_TABLE, KEY_INDEX, KEY_TABLE, MAGIC, RECORDS,
    UserRecord,
};

/// Collects user records. The tables are in the order of first use, as the KPL writes tables.
#[derive(Debug, Default)]
pub struct Packer<'a> {
    keys: BTreeMap<&'a str, u64>,
    hash_keys: BTreeMap<u128, u64>,
    key_table: Vec<u8>,
    hash_key_table: Vec<u8>,
    records: Vec<u8>,
    count: usize,
}

/// The fields of a user record behind the two indices.
#[derive(Clone, Copy)]
enum Content<'a> {
    Data(&'a [u8]),
    /// All fields of an encoded user record but the indices: data, tags, unknown ones.
    Of(&'a [u8]),
}

impl Content<'_> {
    fn len(self) -> usize {
        match self {
            Self::Data(data) => field_len(data.len()),
            Self::Of(message) => contents(message).map(<[u8]>::len).sum(),
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Data(data) => {
                write_head(out, DATA, data.len());
                out.extend_from_slice(data);
            }
            Self::Of(message) => contents(message).for_each(|raw| out.extend_from_slice(raw)),
        }
    }
}

/// The encoded fields of a user record that was read, without the indices.
fn contents(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut fields = Fields::of(message);
    std::iter::from_fn(move || {
        // The message was checked when the aggregate was read.
        while let Ok(Some(field)) = fields.next() {
            match field.number {
                KEY_INDEX | HASH_KEY_INDEX => {}
                _ => return Some(field.raw),
            }
        }
        None
    })
}

/// A user record as the packer would write it.
struct Planned {
    key_index: u64,
    hash_key_index: Option<u64>,
    /// Bytes of the record's message.
    len: usize,
    /// Bytes that the tables grow by.
    tables: usize,
}

impl<'a> Packer<'a> {
    /// Number of user records.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the aggregate.
    pub fn size(&self) -> usize {
        BYTES_MIN + self.key_table.len() + self.hash_key_table.len() + self.records.len()
    }

    /// Bytes of the aggregate with one more user record.
    pub fn size_with(&self, key: &str, explicit_hash_key: Option<u128>, data: &[u8]) -> usize {
        let planned = self.plan(key, explicit_hash_key, Content::Data(data));
        self.size() + planned.tables + field_len(planned.len)
    }

    /// Adds a user record.
    pub fn push(&mut self, key: &'a str, explicit_hash_key: Option<u128>, data: &[u8]) {
        self.add(key, explicit_hash_key, Content::Data(data));
    }

    /// Adds a user record of another aggregate, with everything that the record holds.
    pub fn push_again(&mut self, record: &UserRecord<'a>) {
        let content = Content::Of(record.message);
        self.add(record.key, record.explicit_hash_key, content);
    }

    fn plan(&self, key: &str, hash_key: Option<u128>, content: Content<'_>) -> Planned {
        let (key_index, new_key) = self.plan_key(key);
        let planned = hash_key.map(|hash_key| self.plan_hash_key(hash_key));
        let (hash_key_index, new_hash_key) = planned.unzip();

        let index = |at: u64| 1 + varint_len(at);
        Planned {
            key_index,
            hash_key_index,
            len: index(key_index) + hash_key_index.map_or(0, index) + content.len(),
            tables: new_key + new_hash_key.unwrap_or(0),
        }
    }

    /// The index of `key`, and the bytes that the table grows by.
    fn plan_key(&self, key: &str) -> (u64, usize) {
        match self.keys.get(key) {
            Some(known) => (*known, 0),
            None => {
                let next = self.keys.len() as u64;
                (next, field_len(key.len()))
            }
        }
    }

    /// The index of `hash_key`, and the bytes that the table grows by.
    fn plan_hash_key(&self, hash_key: u128) -> (u64, usize) {
        match self.hash_keys.get(&hash_key) {
            Some(known) => (*known, 0),
            None => {
                let next = self.hash_keys.len() as u64;
                (next, field_len(digits(hash_key)))
            }
        }
    }

    fn add(&mut self, key: &'a str, explicit_hash_key: Option<u128>, content: Content<'_>) {
        let planned = self.plan(key, explicit_hash_key, content);
        self.enter_key(key, planned.key_index);
        if let (Some(of), Some(at)) = (explicit_hash_key, planned.hash_key_index) {
            self.enter_hash_key(of, at);
        }

        write_head(&mut self.records, RECORDS, planned.len);
        write_number(&mut self.records, KEY_INDEX, planned.key_index);
        if let Some(at) = planned.hash_key_index {
            write_number(&mut self.records, HASH_KEY_INDEX, at);
        }
        content.write(&mut self.records);
        self.count += 1;
    }

    fn enter_key(&mut self, key: &'a str, index: u64) {
        if index == self.keys.len() as u64 {
            self.keys.insert(key, index);
            write_head(&mut self.key_table, KEY_TABLE, key.len());
            self.key_table.extend_from_slice(key.as_bytes());
        }
    }

    fn enter_hash_key(&mut self, hash_key: u128, index: u64) {
        if index == self.hash_keys.len() as u64 {
            self.hash_keys.insert(hash_key, index);
            let text = hash_key.to_string();
            write_head(&mut self.hash_key_table, HASH_KEY_TABLE, text.len());
            self.hash_key_table.extend_from_slice(text.as_bytes());
        }
    }

    /// The aggregate.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.key_table);
        out.extend_from_slice(&self.hash_key_table);
        out.extend_from_slice(&self.records);

        let md5 = Md5::digest(&out[MAGIC.len()..]);
        out.extend_from_slice(&md5);
        out
    }
}

/// Decimal digits of a number.
fn digits(number: u128) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}
