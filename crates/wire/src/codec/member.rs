//! Reading one member of a shape: as tolerant as AWS (null means absent, a float may stand for an
//! integer), and otherwise refused in AWS's own words.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::limits::LIST_ITEMS;

/// AWS's refusal of a list where something else is expected.
const FOUND_LIST: &str = "Start of list found where not expected";
/// AWS's refusal of an object where something else is expected.
const FOUND_OBJECT: &str = "Start of structure or map found where not expected.";

/// A type that a member of a shape can have.
pub(crate) trait Member: Sized {
    /// The value for a member that is absent or null.
    fn missing() -> Self;

    /// Reads a member that is neither absent nor null.
    fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;

    /// True if the member is not written.
    fn absent(&self) -> bool {
        false
    }
}

/// Reads a member; null means absent. Every member of every shape is read by this function.
pub(crate) fn read<'de, D: Deserializer<'de>, T: Member>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_option(NullOr(PhantomData))
}

struct NullOr<T>(PhantomData<T>);

impl<'de, T: Member> Visitor<'de> for NullOr<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member or null")
    }

    fn visit_none<E: Error>(self) -> Result<T, E> {
        Ok(T::missing())
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::missing())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::present(deserializer)
    }
}

/// An element of a list or map; null is refused.
struct Element<T>(T);

impl<'de, T: Member> Deserialize<'de> for Element<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::present(deserializer).map(Self)
    }
}

/// A value that is neither list nor object. Each function converts one kind of input; `None`
/// refuses the input in AWS's words.
pub(crate) trait Scalar: Sized {
    /// The type in AWS's refusals, with AWS's article: "an String".
    const NAME: &'static str;

    fn from_bool(_value: bool) -> Option<Self> {
        None
    }

    fn from_int(_value: i64) -> Option<Self> {
        None
    }

    fn from_float(_value: f64) -> Option<Self> {
        None
    }

    /// `Some(Err(text))` refuses the input with a text of its own.
    fn from_text(_value: &str) -> Option<Result<Self, String>> {
        None
    }

    fn from_bytes(_value: &[u8]) -> Option<Self> {
        None
    }
}

/// Reads a [`Scalar`].
pub(crate) fn scalar<'de, D: Deserializer<'de>, T: Scalar>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(ScalarVisitor(PhantomData))
}

struct ScalarVisitor<T>(PhantomData<T>);

/// AWS's refusal of a value; `class` is the Java class of the input.
fn refused<E: Error, T: Scalar>(class: &str) -> E {
    E::custom(format_args!(
        "class {class} can not be converted to {}",
        T::NAME
    ))
}

impl<'de, T: Scalar> Visitor<'de> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::NAME)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        T::from_bool(value).ok_or_else(|| refused::<E, T>("java.lang.Boolean"))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        T::from_int(value).ok_or_else(|| refused::<E, T>("java.math.BigDecimal"))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        i64::try_from(value)
            .ok()
            .and_then(T::from_int)
            .ok_or_else(|| refused::<E, T>("java.math.BigDecimal"))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        T::from_float(value).ok_or_else(|| refused::<E, T>("java.math.BigDecimal"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        match T::from_text(value) {
            Some(read) => read.map_err(E::custom),
            None => Err(refused::<E, T>("java.lang.String")),
        }
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<T, E> {
        T::from_bytes(value).ok_or_else(|| refused::<E, T>("java.nio.HeapByteBuffer"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(A::Error::custom(FOUND_LIST))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(A::Error::custom(FOUND_OBJECT))
    }
}

impl Scalar for String {
    const NAME: &'static str = "an String";

    fn from_text(value: &str) -> Option<Result<Self, String>> {
        Some(Ok(value.to_owned()))
    }
}

impl Scalar for bool {
    const NAME: &'static str = "an Boolean";

    fn from_bool(value: bool) -> Option<Self> {
        Some(value)
    }
}

impl Scalar for i32 {
    const NAME: &'static str = "an Integer";

    fn from_int(value: i64) -> Option<Self> {
        Self::try_from(value).ok()
    }

    fn from_float(value: f64) -> Option<Self> {
        i64::from_float(value).and_then(Self::from_int)
    }
}

impl Scalar for i64 {
    const NAME: &'static str = "an Long";

    fn from_int(value: i64) -> Option<Self> {
        Some(value)
    }

    fn from_float(value: f64) -> Option<Self> {
        // -2^63 and 2^63 are exact as f64; the range holds every float that fits i64.
        let whole = value.floor();
        (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0)
            .contains(&whole)
            .then_some(whole as Self)
    }
}

macro_rules! scalar_members {
    ($($t:ty),*) => {$(
        impl Member for $t {
            fn missing() -> Self {
                Self::default()
            }
            fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                scalar(deserializer)
            }
        }
    )*};
}

scalar_members!(String, bool, i32, i64);

impl<T: Member> Member for Option<T> {
    fn missing() -> Self {
        None
    }

    fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::present(deserializer).map(Some)
    }

    fn absent(&self) -> bool {
        self.is_none()
    }
}

/// The visitor methods that refuse every scalar with one text.
macro_rules! refuse_scalars {
    ($text:literal) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str($text)
        }
        fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
            Err(E::custom($text))
        }
        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
            Err(E::custom($text))
        }
        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
            Err(E::custom($text))
        }
        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
            Err(E::custom($text))
        }
        fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
            Err(E::custom($text))
        }
        fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Self::Value, E> {
            Err(E::custom($text))
        }
    };
}

impl<T: Member> Member for Vec<T> {
    fn missing() -> Self {
        Self::new()
    }

    fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Member> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    refuse_scalars!("Expected list or null");

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        // The announced length reserves no memory: a sender may announce anything.
        let mut out = Vec::new();
        while let Some(Element(item)) = list.next_element()? {
            if out.len() == LIST_ITEMS {
                return Err(A::Error::custom("the list is too long"));
            }
            out.push(item);
        }
        Ok(out)
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Vec<T>, A::Error> {
        Err(A::Error::custom(FOUND_OBJECT))
    }
}

impl<T: Member> Member for BTreeMap<String, T> {
    fn missing() -> Self {
        Self::new()
    }

    fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MapVisitor(PhantomData))
    }
}

struct MapVisitor<T>(PhantomData<T>);

impl<'de, T: Member> Visitor<'de> for MapVisitor<T> {
    type Value = BTreeMap<String, T>;

    refuse_scalars!("Expected map or null");

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom(FOUND_LIST))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut out = BTreeMap::new();
        while let Some((key, Element(value))) = map.next_entry::<String, Element<T>>()? {
            if out.len() == LIST_ITEMS {
                return Err(A::Error::custom("the map is too long"));
            }
            out.insert(key, value);
        }
        Ok(out)
    }
}

/// Reads a shape; anything but an object is refused in AWS's words.
pub(crate) fn structure<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(StructureVisitor(PhantomData))
}

struct StructureVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for StructureVisitor<T> {
    type Value = T;

    refuse_scalars!("Expected null");

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(A::Error::custom(FOUND_LIST))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}
