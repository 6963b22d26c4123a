//! An aggregate that was checked and indexed.

use distributary_wire::hashkey;
use md5::{Digest, Md5};

use super::protobuf::{Fields, Value};
use super::{
    BYTES_MIN, DATA, Damage, HASH_KEY_INDEX, HASH_KEY_TABLE, KEY_INDEX, KEY_TABLE, MAGIC,
    MD5_BYTES, RECORDS,
};

/// A record of an aggregate, as the producer put it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRecord<'a> {
    /// The partition key.
    pub key: &'a str,
    /// The hash key that routes the record in place of the key's MD5.
    pub explicit_hash_key: Option<u128>,
    /// The data.
    pub data: &'a [u8],
    /// The place of `key` in the aggregate's table.
    key_index: usize,
    /// The encoded record, with tags and fields that this program does not know.
    pub(super) message: &'a [u8],
}

/// An aggregate: slices of its bytes. The MD5 was compared, and every index lies in its table.
#[derive(Clone, Debug)]
pub struct Aggregate<'a> {
    keys: Vec<&'a str>,
    records: Vec<UserRecord<'a>>,
}

impl<'a> Aggregate<'a> {
    /// Reads an aggregate from the data of a record (bytes, not base64).
    ///
    /// # Errors
    /// [`Damage`]: the data are no aggregate, or a damaged one.
    pub fn parse(data: &'a [u8]) -> Result<Self, Damage> {
        let (message, md5) = split(data)?;
        if Md5::digest(message)[..] != *md5 {
            return Err(Damage::Checksum);
        }
        Self::of_message(message)
    }

    /// Reads an aggregate without comparing the MD5, where a mistake costs no more than time.
    ///
    /// # Errors
    /// As [`Aggregate::parse`].
    pub(crate) fn index(data: &'a [u8]) -> Result<Self, Damage> {
        let (message, _) = split(data)?;
        Self::of_message(message)
    }

    fn of_message(message: &'a [u8]) -> Result<Self, Damage> {
        let tables = Tables::read(message)?;
        let records = tables.records()?;
        Ok(Self {
            keys: tables.keys,
            records,
        })
    }

    /// The user records, in order; at least one.
    pub fn records(&self) -> &[UserRecord<'a>] {
        &self.records
    }

    /// The different partition keys of the user records, and perhaps some that no user record has.
    pub fn keys(&self) -> &[&'a str] {
        &self.keys
    }

    /// The hash key of each user record, by which a consumer tells if the shard is the record's.
    pub fn hash_keys(&self) -> Vec<u128> {
        // Many user records may share a key.
        let mut of_keys = vec![None; self.keys.len()];
        let mut all = Vec::with_capacity(self.records.len());
        for record in &self.records {
            let hash_key = match record.explicit_hash_key {
                Some(explicit) => explicit,
                None => *of_keys[record.key_index]
                    .get_or_insert_with(|| hashkey::of_partition_key(record.key)),
            };
            all.push(hash_key);
        }
        all
    }
}

/// The message behind the magic bytes, and the MD5.
fn split(data: &[u8]) -> Result<(&[u8], &[u8]), Damage> {
    if data.len() < BYTES_MIN {
        return Err(Damage::NoMagic);
    }
    let body = data.strip_prefix(&MAGIC).ok_or(Damage::NoMagic)?;
    Ok(body.split_at(body.len() - MD5_BYTES))
}

/// The fields of an aggregate's message.
#[derive(Default)]
struct Tables<'a> {
    keys: Vec<&'a str>,
    hash_keys: Vec<u128>,
    messages: Vec<&'a [u8]>,
}

impl<'a> Tables<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Damage> {
        let mut tables = Self::default();
        let mut fields = Fields::of(message);
        while let Some(field) = fields.next()? {
            match field.number {
                KEY_TABLE => tables.keys.push(field.value.text()?),
                HASH_KEY_TABLE => tables.hash_keys.push(hash_key(field.value)?),
                RECORDS => tables.messages.push(field.value.bytes()?),
                0 => return Err(Damage::Malformed("a field has the number 0")),
                _ => {}
            }
        }

        match tables.messages.is_empty() {
            true => Err(Damage::Empty),
            false => Ok(tables),
        }
    }

    fn records(&self) -> Result<Vec<UserRecord<'a>>, Damage> {
        let messages = self.messages.iter();
        messages.map(|message| self.record(message)).collect()
    }

    fn record(&self, message: &'a [u8]) -> Result<UserRecord<'a>, Damage> {
        let parts = Parts::read(message)?;
        let (Some(key), Some(data)) = (parts.key, parts.data) else {
            return Err(Damage::Malformed("a user record has no key or no data"));
        };

        let key_index = index(key)?;
        let explicit = parts.hash_key.map(|at| entry(&self.hash_keys, index(at)?));
        Ok(UserRecord {
            key: entry(&self.keys, key_index)?,
            explicit_hash_key: explicit.transpose()?,
            data,
            key_index,
            message,
        })
    }
}

/// The fields of a user record's message. The last occurrence of a field counts.
#[derive(Default)]
struct Parts<'a> {
    key: Option<u64>,
    hash_key: Option<u64>,
    data: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Damage> {
        let mut parts = Self::default();
        let mut fields = Fields::of(message);
        while let Some(field) = fields.next()? {
            match field.number {
                KEY_INDEX => parts.key = Some(field.value.number()?),
                HASH_KEY_INDEX => parts.hash_key = Some(field.value.number()?),
                DATA => parts.data = Some(field.value.bytes()?),
                0 => return Err(Damage::Malformed("a field has the number 0")),
                _ => {}
            }
        }
        Ok(parts)
    }
}

fn hash_key(value: Value<'_>) -> Result<u128, Damage> {
    hashkey::parse(value.text()?).ok_or(Damage::Malformed("an explicit hash key is no number"))
}

fn index(number: u64) -> Result<usize, Damage> {
    usize::try_from(number).map_err(|_| Damage::Malformed("an index is outside its table"))
}

fn entry<T: Copy>(table: &[T], index: usize) -> Result<T, Damage> {
    let entry = table.get(index).copied();
    entry.ok_or(Damage::Malformed("an index is outside its table"))
}
