//! The data that the original makes of a change in a DynamoDB table: the new image alone, typed or
//! as plain JSON. Numbers keep all their digits, where the original rounds them.

use std::borrow::Cow;
use std::sync::Arc;

use distributary_core::batch::Batch;
use distributary_core::pump::{BadRow, Derived, DerivedBuilder, Pump, PumpId, RowBound};
use distributary_core::record::{DataForm, Record};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The form of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// Plain JSON in place of values with types.
    pub plain: bool,
    /// A line feed behind the JSON.
    pub newline: bool,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    dynamodb: ChangeData<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChangeData<'a> {
    #[serde(borrow)]
    new_image: Option<&'a RawValue>,
}

/// The pump for changes.
struct ImagePump {
    id: PumpId,
    images: Images,
}

impl Images {
    /// A pump whose rows are the images of changes; data that are no change stay as they are.
    pub fn pump(self) -> Arc<dyn Pump> {
        let Self { plain, newline } = self;
        Arc::new(ImagePump {
            id: PumpId::new(&format!("images plain={plain} newline={newline}")),
            images: self,
        })
    }

    /// The image of a change; `None` if the data are no change.
    fn of(self, data: &[u8]) -> Option<String> {
        let change: Change<'_> = serde_json::from_slice(data).ok()?;
        let image = change.dynamodb.new_image.map_or("{}", RawValue::get);
        let mut text = if self.plain {
            let typed: Value = serde_json::from_str(image).ok()?;
            let mut text = String::new();
            add_members(typed.as_object()?, &mut text)?;
            text
        } else {
            image.to_owned()
        };
        if self.newline {
            text.push('\n');
        }
        Some(text)
    }
}

impl Pump for ImagePump {
    fn id(&self) -> &PumpId {
        &self.id
    }

    fn streams(&self) -> usize {
        1
    }

    fn bound(&self, records: usize, bytes: usize) -> RowBound {
        RowBound {
            rows: records,
            bytes: bytes + records * (DerivedBuilder::ROW_OVERHEAD + 1),
        }
    }

    fn apply(&self, batch: &Batch) -> Result<Vec<Derived>, BadRow> {
        let mut rows = DerivedBuilder::new(batch, DataForm::Raw);
        for (i, record) in batch.iter().enumerate() {
            let data = raw(&record);
            match self.images.of(&data) {
                Some(image) => rows.push(i, record.key, image.as_bytes())?,
                None => rows.push(i, record.key, &data)?,
            }
        }
        let rows = rows.finish()?;
        Ok(vec![rows])
    }
}

/// The data themselves. A batch has no data that are not base64 where it says so.
fn raw<'a>(record: &Record<'a>) -> Cow<'a, [u8]> {
    match record.form {
        DataForm::Raw => Cow::Borrowed(record.data),
        DataForm::Base64 => {
            let decoded = base64_simd::STANDARD.decode_to_vec(record.data);
            decoded.map_or(Cow::Borrowed(record.data), Cow::Owned)
        }
    }
}

/// Appends an object with plain values; `None` for a type that is not known.
fn add_members(members: &serde_json::Map<String, Value>, text: &mut String) -> Option<()> {
    text.push('{');
    for (i, (name, typed)) in members.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        add_text(name, text);
        text.push(':');
        add_value(typed, text)?;
    }
    text.push('}');
    Some(())
}

/// Appends a value of some type.
fn add_value(typed: &Value, text: &mut String) -> Option<()> {
    let (kind, value) = typed.as_object()?.iter().next()?;
    match kind.as_str() {
        "S" | "B" => add_text(value.as_str()?, text),
        "N" => text.push_str(value.as_str()?),
        "BOOL" => text.push_str(&value.as_bool()?.to_string()),
        "NULL" => text.push_str("null"),
        "M" => add_members(value.as_object()?, text)?,
        "L" => add_list(value, text, add_value)?,
        "SS" | "BS" => add_list(value, text, add_string)?,
        "NS" => add_list(value, text, add_number)?,
        _ => return None,
    }
    Some(())
}

fn add_string(value: &Value, text: &mut String) -> Option<()> {
    add_text(value.as_str()?, text);
    Some(())
}

fn add_number(value: &Value, text: &mut String) -> Option<()> {
    text.push_str(value.as_str()?);
    Some(())
}

/// Appends one value.
type Add = fn(&Value, &mut String) -> Option<()>;

fn add_list(list: &Value, text: &mut String, add: Add) -> Option<()> {
    text.push('[');
    for (i, value) in list.as_array()?.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        add(value, text)?;
    }
    text.push(']');
    Some(())
}

fn add_text(value: &str, text: &mut String) {
    let quoted = Value::from(value).to_string();
    text.push_str(&quoted);
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGE: &str = r#"{"eventName":"INSERT","dynamodb":{"Keys":{"a":{"S":"k"}},"NewImage":{"a":{"S":"\"q\""},"big":{"N":"123456789012345678901234567890"},"list":{"L":[{"NULL":true},{"BOOL":false},{"M":{"x":{"B":"AA=="}}}]},"set":{"NS":["1","2"]}}}}"#;

    fn image(plain: bool, newline: bool, change: &str) -> Option<String> {
        Images { plain, newline }.of(change.as_bytes())
    }

    #[test]
    fn plain_values_keep_every_digit() {
        let expected = r#"{"a":"\"q\"","big":123456789012345678901234567890,"list":[null,false,{"x":"AA=="}],"set":[1,2]}"#;
        assert_eq!(image(true, false, CHANGE).as_deref(), Some(expected));
    }

    #[test]
    fn typed_values_stand_as_they_came() {
        let typed = image(false, true, CHANGE).unwrap();
        assert!(typed.starts_with(r#"{"a":{"S":"\"q\""},"big""#) && typed.ends_with("}\n"));
    }

    #[test]
    fn a_removal_is_an_empty_object_and_other_data_stay() {
        let removed = r#"{"eventName":"REMOVE","dynamodb":{"Keys":{"a":{"S":"k"}}}}"#;
        assert_eq!(image(true, false, removed).as_deref(), Some("{}"));
        assert_eq!(image(true, false, "hello"), None);
        let unknown = r#"{"dynamodb":{"NewImage":{"a":{"Z":"k"}}}}"#;
        assert_eq!(image(true, false, unknown), None);
    }
}
