//! The streams that `put`, `tail` and `verify` are given.

use std::sync::Arc;

use distributary_core::source::Source;
use distributary_core::text::chain;
use distributary_kinesis::client::Client;
use distributary_kinesis::names::StreamRef;
use distributary_kinesis::source::KinesisSource;
use distributary_local::CreateError;

use crate::connect::{Access, stream_ref};
use crate::failure::Failure;

/// A stream that a command was given.
pub(crate) struct Given {
    /// As the user wrote it.
    pub(crate) name: String,
    pub(crate) stream: StreamRef,
    pub(crate) client: Client,
}

impl Given {
    /// The stream that `name` says. No call is made to it. With `--local` it is made, with one shard: the embedded
    /// Kinesis of a command is empty.
    pub(crate) async fn open(access: &Access, name: &str) -> Result<Self, Failure> {
        let stream = stream_ref(name)?;
        if let Some(local) = &access.local {
            match local.create_stream(stream.name(), 1) {
                Ok(()) | Err(CreateError::Exists { .. }) => {}
                Err(error @ (CreateError::Name { .. } | CreateError::Shards { .. })) => {
                    return Err(Failure::usage(chain(&error)));
                }
            }
        }
        let client = access.client(&stream).await?;
        Ok(Self {
            name: name.to_owned(),
            stream,
            client,
        })
    }

    /// It, to be read.
    pub(crate) fn source(&self) -> Arc<dyn Source> {
        Arc::new(KinesisSource::new(self.client.clone(), self.stream.clone()))
    }
}
