//! The same body in other valid styles, as other encoders write.

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use serde_json::Value;

/// The style of a body; every field that is true deviates from this crate's own style.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    /// CBOR: maps and arrays have indefinite length and end with a break, like Jackson's objects.
    pub(crate) indefinite: bool,
    /// CBOR: text and byte strings are in two chunks.
    pub(crate) chunked: bool,
    /// CBOR: whole numbers have eight bytes. JSON: whole numbers have a fraction of zero.
    pub(crate) wide: bool,
    /// Objects have an unknown member and one that is null.
    pub(crate) unknown: bool,
    /// JSON: every character outside of ASCII, and every slash, is escaped.
    pub(crate) escaped: bool,
}

impl Style {
    pub(crate) fn from_bits(bits: u8) -> Self {
        let bit = |n: u8| bits >> n & 1 == 1;
        Self {
            indefinite: bit(0),
            chunked: bit(1),
            wide: bit(2),
            unknown: bit(3),
            escaped: bit(4),
        }
    }

    /// The style inside a member. `Tags` is a map with user-defined names, so that an added member
    /// would change the value.
    fn inside(self, name: &str, map: bool) -> Self {
        Self {
            unknown: self.unknown && !(map && name == "Tags"),
            ..self
        }
    }
}

/// The same CBOR in another style.
pub(crate) fn cbor(body: &[u8], style: Style) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    let mut input = Decoder::new(body);
    cbor_item(&mut input, &mut out, style);
    assert_eq!(input.position(), body.len());
    out.into_writer()
}

fn cbor_item(input: &mut Decoder<'_>, out: &mut Encoder<Vec<u8>>, style: Style) {
    match input.datatype().unwrap() {
        Type::Map => cbor_map(input, out, style),
        Type::Array => {
            let len = input.array().unwrap().unwrap();
            if style.indefinite {
                out.begin_array().unwrap();
            } else {
                out.array(len).unwrap();
            }

            for _ in 0..len {
                cbor_item(input, out, style);
            }
            if style.indefinite {
                out.end().unwrap();
            }
        }
        Type::String => cbor_text(input.str().unwrap(), out, style),
        Type::Bytes => cbor_bytes(input.bytes().unwrap(), out, style),
        Type::Tag => {
            out.tag(input.tag().unwrap()).unwrap();
            cbor_item(input, out, style);
        }
        Type::Bool => {
            out.bool(input.bool().unwrap()).unwrap();
        }
        _ => cbor_int(input.i64().unwrap(), out, style),
    }
}

fn cbor_map(input: &mut Decoder<'_>, out: &mut Encoder<Vec<u8>>, style: Style) {
    let len = input.map().unwrap().unwrap();
    if style.indefinite {
        out.begin_map().unwrap();
    } else {
        out.map(len + if style.unknown { 2 } else { 0 }).unwrap();
    }

    if style.unknown {
        out.str("New").unwrap().array(2).unwrap().null().unwrap();
        out.begin_map().unwrap().end().unwrap();
    }
    for _ in 0..len {
        let name = input.probe().str().unwrap();
        cbor_item(input, out, style);
        let is_map = input.datatype().unwrap() == Type::Map;
        cbor_item(input, out, style.inside(name, is_map));
    }
    if style.unknown {
        out.str("Unset").unwrap().null().unwrap();
    }

    if style.indefinite {
        out.end().unwrap();
    }
}

fn cbor_text(text: &str, out: &mut Encoder<Vec<u8>>, style: Style) {
    if style.chunked {
        let (first, second) = text.split_at(text.floor_char_boundary(text.len() / 2));
        out.begin_str().unwrap();
        out.str(first).unwrap().str(second).unwrap();
        out.end().unwrap();
    } else {
        out.str(text).unwrap();
    }
}

fn cbor_bytes(bytes: &[u8], out: &mut Encoder<Vec<u8>>, style: Style) {
    if style.chunked {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        out.begin_bytes().unwrap();
        out.bytes(first).unwrap().bytes(second).unwrap();
        out.end().unwrap();
    } else {
        out.bytes(bytes).unwrap();
    }
}

fn cbor_int(n: i64, out: &mut Encoder<Vec<u8>>, style: Style) {
    if style.wide {
        let (head, value) = if n < 0 {
            (0x3b, !(n as u64))
        } else {
            (0x1b, n as u64)
        };
        out.writer_mut().push(head);
        out.writer_mut().extend(value.to_be_bytes());
    } else {
        out.i64(n).unwrap();
    }
}

/// The same JSON in another style.
pub(crate) fn json(body: &[u8], style: Style) -> Vec<u8> {
    let value: Value = serde_json::from_slice(body).unwrap();
    let mut out = String::new();
    json_value(&value, &mut out, style);
    out.into_bytes()
}

fn json_text(text: &str, out: &mut String, style: Style) {
    let quoted = serde_json::to_string(text).unwrap();
    for c in quoted.chars() {
        match c {
            '/' if style.escaped => out.push_str("\\/"),
            c if style.escaped && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
            c => out.push(c),
        }
    }
}

fn json_value(value: &Value, out: &mut String, style: Style) {
    match value {
        Value::Object(map) => {
            out.push_str("{ ");
            if style.unknown {
                out.push_str("\"New\" : [null, {\"a\\n\":[1e3,-0.5,true,false,\"]}\\\"\"]}],\n");
            }

            for (name, value) in map {
                json_text(name, out, Style::default());
                out.push_str(" :\t");
                json_value(value, out, style.inside(name, value.is_object()));
                out.push_str(" ,\r\n");
            }

            if style.unknown {
                out.push_str("\"Unset\":null");
            } else if !map.is_empty() {
                out.truncate(out.len() - 3);
            }
            out.push_str(" }");
        }
        Value::Array(list) => {
            out.push('[');
            for (i, value) in list.iter().enumerate() {
                out.push_str(if i > 0 { " , " } else { " " });
                json_value(value, out, style);
            }
            out.push_str(" ]");
        }
        Value::String(text) => json_text(text, out, style),
        // Larger numbers with a fraction do not fit a float: JSON readers disagree on the last
        // digit.
        Value::Number(n) if style.wide && n.as_i64().is_some_and(|n| n.abs() < 1 << 49) => {
            out.push_str(&format!("{n}.0"));
        }
        other => out.push_str(&other.to_string()),
    }
}
