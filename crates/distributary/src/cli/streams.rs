//! The streams named on the command line; and `distributary streams`.

mod list;

use std::sync::Arc;

use distributary_core::source::Source;
use distributary_kinesis::client::Client;
use distributary_kinesis::names::StreamRef;
use distributary_kinesis::source::KinesisSource;

use crate::connect::{Access, stream_ref};
use crate::failure::Failure;

pub(crate) use list::{StreamsArgs, run};

/// A stream named on the command line.
pub(crate) struct Given {
    /// The name or ARN as the user wrote it.
    pub(crate) name: String,
    pub(crate) stream: StreamRef,
    pub(crate) client: Client,
}

impl Given {
    /// The stream with this name or ARN. Calls no server.
    pub(crate) async fn open(access: &Access, name: &str) -> Result<Self, Failure> {
        let stream = stream_ref(name)?;
        let client = access.client(&stream).await?;
        Ok(Self {
            name: name.to_owned(),
            stream,
            client,
        })
    }

    /// The stream as a source.
    pub(crate) fn source(&self) -> Arc<dyn Source> {
        Arc::new(KinesisSource::new(self.client.clone(), self.stream.clone()))
    }
}
