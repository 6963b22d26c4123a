//! The shapes of `Kinesis_20131202`: one request and one answer per operation, and what they share.
//!
//! Members carry AWS's names (in Rust's case); what each means and which are required stands on the operation's page of
//! the [API reference](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Operations.html). Comments here add
//! units and limits where the name does not say them.
//!
//! In requests every member is optional, since a server must tell "absent" from "empty" to refuse as AWS does. In answers
//! the members that AWS always sends are plain, and read as empty if a server leaves them out. Unknown members are passed
//! over and unknown enum values kept, so nothing that AWS adds breaks decoding.

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

/// A request: which operation it asks for and what the answer to it is.
pub trait Request:
    Serialize + DeserializeOwned + Clone + std::fmt::Debug + Default + Send + Sync + 'static
{
    /// The operation.
    const OPERATION: Operation;
    /// Its answer.
    type Answer: Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug
        + Default
        + Send
        + Sync
        + 'static;
}

/// Declares shapes: plain structs whose every member is read by `codec::member::read` and, if an `Option`, left out when
/// there is none.
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
            fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
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
