//! Attributes from JSON, and the size of items.
//! Source: Amazon DynamoDB developer guide, "Item sizes and formats".

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use distributary_core::output::Refusal;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A map as the SDK has one; the order of members is never seen.
#[expect(clippy::disallowed_types, reason = "the type of the SDK")]
type Members = std::collections::HashMap<String, AttributeValue>;

/// The attribute for a JSON value; numbers keep their digits.
pub(super) fn of_json(json: &RawValue) -> Result<AttributeValue, Refusal> {
    let text = json.get();
    Ok(match text.bytes().next() {
        Some(b'"') => AttributeValue::S(read(text)?),
        Some(b't' | b'f') => AttributeValue::Bool(read(text)?),
        Some(b'n') => AttributeValue::Null(true),
        Some(b'[') => AttributeValue::L(list(text)?),
        Some(b'{') => AttributeValue::M(map(text)?),
        Some(_) | None => AttributeValue::N(text.to_owned()),
    })
}

fn list(text: &str) -> Result<Vec<AttributeValue>, Refusal> {
    let values: Vec<Box<RawValue>> = read(text)?;
    let mut list = Vec::with_capacity(values.len());

    for value in &values {
        list.push(of_json(value)?);
    }
    Ok(list)
}

fn map(text: &str) -> Result<Members, Refusal> {
    let members: BTreeMap<String, Box<RawValue>> = read(text)?;
    let mut map = Members::with_capacity(members.len());

    for (name, value) in members {
        let value = of_json(&value)?;
        map.insert(name, value);
    }
    Ok(map)
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| Refusal::new("NotJson", error.to_string()))
}

/// The bytes of an item.
pub(super) fn size(item: &BTreeMap<String, AttributeValue>) -> usize {
    item.iter()
        .map(|(name, value)| name.len() + value_size(value))
        .sum()
}

fn value_size(value: &AttributeValue) -> usize {
    /// Bytes of a list or map beside the members, and of each member.
    const COLLECTION: usize = 3;
    const MEMBER: usize = 1;

    match value {
        AttributeValue::S(text) => text.len(),
        // Two digits a byte, and one or two bytes for sign and exponent.
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::L(values) => {
            let values = values.iter().map(|value| value_size(value) + MEMBER);
            COLLECTION + values.sum::<usize>()
        }
        AttributeValue::M(members) => {
            let members = members.iter();
            let members = members.map(|(name, value)| name.len() + value_size(value) + MEMBER);
            COLLECTION + members.sum::<usize>()
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> AttributeValue {
        let json = RawValue::from_string(text.to_owned()).unwrap();
        of_json(&json).unwrap()
    }

    #[test]
    fn json_values_are_attributes_and_numbers_keep_their_digits() {
        let number = "12345678901234567890123456789012345678";
        assert_eq!(of(number), AttributeValue::N(number.to_owned()));
        assert_eq!(of("\"a\\n\""), AttributeValue::S("a\n".to_owned()));
        assert_eq!(of("true"), AttributeValue::Bool(true));
        assert_eq!(of("null"), AttributeValue::Null(true));
        let list = vec![
            AttributeValue::N("1.50".to_owned()),
            AttributeValue::L(Vec::new()),
        ];
        assert_eq!(of("[1.50, []]"), AttributeValue::L(list));
        let members = [("a".to_owned(), AttributeValue::Bool(false))];
        assert_eq!(of("{\"a\": false}"), AttributeValue::M(members.into()));
    }

    #[test]
    fn names_and_values_count() {
        let item = [
            ("key".to_owned(), of("\"äb\"")),
            ("l".to_owned(), of("[null]")),
        ];
        assert_eq!(size(&item.into()), 3 + 3 + 1 + 3 + 1 + 1);
    }
}
