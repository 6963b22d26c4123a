//! The Kinesis client over [`distributary_wire`]: from the user's settings to a [`client::Client`],
//! and from a client to the fan-out's [`source`] and [`output`].
//!
//! - [`config`]: regions, profiles, endpoints; [`credentials`]: the keys that sign requests.
//! - [`transport`]: HTTP over TCP and TLS.
//! - [`client`]: signs requests, sends them, reads answers, and adapts to the server.
//! - [`kpl`]: records that the Kinesis Producer Library aggregated.
//! - [`retry`]: the retries of commands; [`names`]: streams as users name them; [`create`]: missing
//!   streams.
//! - [`write_slots`]: writes in flight, divided among the outputs.
//! - [`source::KinesisSource`], [`output::KinesisOutput`]: the seams of [`distributary_core`].

pub mod client;
pub mod config;
pub mod create;
pub mod credentials;
pub mod endpoint;
pub mod kpl;
pub mod names;
pub mod output;
pub mod retry;
pub mod source;
pub mod transport;
pub mod write_slots;
