//! The clients of a run, with options drawn from the seed.

use std::sync::Arc;

use distributary_core::testing::Rng;
use distributary_kinesis::client::Client;
use distributary_kinesis::names::StreamRef;
use distributary_kinesis::output::Route;
use distributary_wire::codec::Format;

use super::call::LinkTransport;
use super::link::{CborRefusal, Link};

/// The differences between one client of a stream and another.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientOptions {
    /// The only format of calls; `None`: the client finds a format that the server accepts.
    format: Option<Format>,
    /// The client names the stream by its ARN.
    by_arn: bool,
    /// The route of records that the client writes.
    pub(super) route: Route,
}

impl ClientOptions {
    /// Draws a client's options, and how its server refuses CBOR.
    pub(super) fn draw(rng: &mut Rng) -> (Self, Option<CborRefusal>) {
        let (format, cbor_refusal) = match rng.below(5) {
            0 | 1 => (None, None),
            2 => (Some(Format::Cbor), None),
            3 => (Some(Format::Json), None),
            _ => (None, Some(CborRefusal::draw(rng))),
        };
        let route = if rng.below(4) == 0 {
            Route::SourceShard
        } else {
            Route::PartitionKey
        };

        let options = Self {
            format,
            by_arn: rng.below(2) == 0,
            route,
        };
        (options, cbor_refusal)
    }

    /// A client as a process makes one at its start, without any knowledge of the server.
    #[allow(clippy::expect_used, reason = "the endpoint is a valid URL")]
    pub(super) fn client(self, link: &Arc<Link>) -> Client {
        let transport = Arc::new(LinkTransport(Arc::clone(link)));
        let builder = Client::builder(transport)
            .clock(link.clock().clock())
            .endpoint("http://kinesis.simulated");

        let builder = match self.format {
            Some(format) => builder.format(format),
            None => builder,
        };
        builder.build().expect("a valid endpoint")
    }

    #[allow(clippy::expect_used, reason = "names of a few letters and digits")]
    pub(super) fn stream(self, link: &Link) -> StreamRef {
        let name = link.stream();
        let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}");
        let text = if self.by_arn { &arn } else { name };
        text.parse().expect("a valid stream name")
    }
}
