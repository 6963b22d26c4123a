//! The shapes of `Kinesis_20131202`: one request and one answer per operation, and their parts.
//!
//! Members have AWS's names, in snake case. The page of the operation in the [API reference][api]
//! documents each member; comments here only add units and limits.
//!
//! In requests every member is optional: to refuse as AWS does, a server must distinguish "absent"
//! from "empty". In answers the members that AWS always sends are plain, and read as empty if a
//! server leaves them out. Unknown members are ignored and unknown enum values are kept, so that
//! additions by AWS do not break decoding.
//!
//! [api]: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Operations.html

mod answers;
#[cfg(test)]
pub(crate) mod fill;
mod requests;
mod scalars;
mod shared;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use answers::*;
pub use requests::*;
pub use scalars::{Blob, Timestamp};
pub use shared::*;

use crate::op::Operation;

/// A request with the operation and the type of the answer.
pub trait Request:
    Serialize + DeserializeOwned + Clone + std::fmt::Debug + Default + Send + Sync + 'static
{
    /// The operation.
    const OPERATION: Operation;
    /// The answer to the request.
    type Answer: Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug
        + Default
        + Send
        + Sync
        + 'static;
}

/// Declares shapes: plain structs. Each member is read by `codec::member::read`; a member that is
/// `None` is not written.
macro_rules! shapes {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        $vis struct $name {
            $(
                $(#[$field_meta])*
                #[serde(
                    default = "crate::codec::member::Member::missing",
                    deserialize_with = "crate::codec::member::read",
                    skip_serializing_if = "crate::codec::member::Member::absent"
                )]
                pub $field: $type,
            )*
        }

        impl crate::codec::member::Member for $name {
            fn missing() -> Self {
                Self::default()
            }

            fn present<'de, D>(deserializer: D) -> Result<Self, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                crate::codec::member::structure(deserializer)
            }
        }

        #[cfg(test)]
        impl crate::types::fill::Fill for $name {
            fn fill(_rng: &mut crate::types::fill::Rng) -> Self {
                Self { $($field: crate::types::fill::Fill::fill(_rng),)* }
            }
        }
    )*};
}
pub(crate) use shapes;
