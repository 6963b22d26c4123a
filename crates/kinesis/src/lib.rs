//! The Kinesis client over [`distributary_wire`]: from what a user says to a [`client::Client`], and from that to the
//! fan-out's [`source`] and [`output`].
//!
//! - [`config`]: regions, profiles, endpoints; [`credentials`]: what requests are signed with.
//! - [`transport`]: HTTP over TCP and TLS.
//! - [`client`]: signs, sends, reads, and adapts to what a server turns out to know.
//! - [`names`]: streams as users name them; [`create`]: making missing ones.
//! - [`share`]: connections shared out among outputs.
//! - [`source::KinesisSource`], [`output::KinesisOutput`]: the seams of [`distributary_core`].

pub mod client;
pub mod config;
pub mod create;
pub mod credentials;
pub mod endpoint;
pub mod names;
pub mod output;
pub mod share;
pub mod source;
pub mod transport;
