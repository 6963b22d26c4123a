//! The client of memcached servers. Protocol: memcached's `doc/protocol.txt`, `set`.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use distributary_core::batch::Batch;
use distributary_core::output::{
    Picks, Profile, Refusal, RequestLimits, Trouble, TroubleKind, Verdict,
};
use distributary_core::record::Record;
use md5::{Digest, Md5};

use super::Settings;
use super::connection::Connection;
use crate::formats;
use crate::kind::{BuildContext, BuildError, Finding};
use crate::messages::{Answer, Encoded, Messages, Service};
use crate::outputs::{BuiltOutput, OutputKind};

/// Commands of a pipeline.
const ENTRIES: usize = 500;
/// Bytes of a pipeline.
const BYTES: usize = 1 << 20;
/// Bytes of a value with key and header without the key `max-size`.
const VALUE_BYTES: usize = 1 << 20;
/// Bytes of an item's header (memcached 1.6 on 64 bits, with a CAS value).
const HEADER: usize = 57;
/// Bytes of a key.
const KEY_BYTES: usize = 250;
/// Life of a value from which on memcached takes a number for a moment: 30 days.
const TTL_SECONDS: u64 = 60 * 60 * 24 * 30;

/// Servers.
struct Servers {
    settings: Settings,
    addresses: Vec<String>,
    /// Connections that no request uses, by server.
    idle: Mutex<BTreeMap<usize, Vec<Connection>>>,
}

/// A `set` command.
#[derive(Debug)]
pub(super) struct Message {
    server: usize,
    command: Vec<u8>,
}

#[async_trait]
impl Service for Servers {
    type Message = Message;
    const KIND: &'static str = Settings::NAME;

    fn profile(&self) -> Profile {
        let request = RequestLimits {
            entries: ENTRIES,
            bytes: BYTES,
        };
        Profile {
            keeps: self.settings.keeps(),
            ..Profile::new(request)
        }
    }

    fn form(&self) -> String {
        let Settings { format, ttl, .. } = &self.settings;
        format!("{format:?} {ttl:?} {:?}", self.addresses)
    }

    fn weigh(&self, record: &Record<'_>) -> usize {
        let key = record.key.map_or(0, str::len);
        formats::len(record, self.settings.format) + key
    }

    fn encode(&self, batch: &Batch, picks: &Picks) -> Encoded<Message> {
        Encoded::one_each(picks, |i| self.message(batch, i).map_err(Verdict::Refused))
    }

    fn allocation(message: &Message) -> usize {
        message.command.len()
    }

    async fn send(&self, messages: &[Message]) -> Answer {
        let unsent = Trouble::new(TroubleKind::Unavailable, "the record was not sent");
        let mut verdicts = vec![Verdict::Retry(unsent); messages.len()];
        for server in 0..self.addresses.len() {
            let mut places = Vec::new();
            for (place, message) in messages.iter().enumerate() {
                if message.server == server {
                    places.push(place);
                }
            }
            if !places.is_empty() {
                self.send_to(server, messages, &places, &mut verdicts).await;
            }
        }
        Answer::Each(verdicts)
    }
}

impl Servers {
    fn idle(&self) -> MutexGuard<'_, BTreeMap<usize, Vec<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn message(&self, batch: &Batch, i: usize) -> Result<Message, Refusal> {
        let record = batch.record(i);
        let key = record.key.unwrap_or_default();
        check_key(key)?;
        let mut value = Vec::new();
        formats::add(&mut value, batch.origin(), &record, self.settings.format)?;

        let bytes = value.len() + key.len() + HEADER;
        let limit = self.settings.max_size.map_or(VALUE_BYTES, |size| size.0);
        if bytes > limit {
            let text =
                format!("the value has {bytes} bytes with its key, and memcached takes {limit}");
            let refusal = Refusal::new("ValueTooLarge", text);
            return Err(refusal);
        }

        let length = value.len();
        let ttl = self.ttl();
        let command = format!("set {key} 0 {ttl} {length}\r\n");
        let mut command = command.into_bytes();
        command.append(&mut value);
        command.extend_from_slice(b"\r\n");
        let server = server_of(key, self.addresses.len());
        Ok(Message { server, command })
    }

    /// The life of a value in seconds; 0 for a value that does not end.
    fn ttl(&self) -> u64 {
        let Some(ttl) = self.settings.ttl else {
            return 0;
        };
        let seconds = ttl.0.as_secs();
        seconds.clamp(1, TTL_SECONDS)
    }

    /// Sends the messages at `places` to their server, and notes the verdicts.
    async fn send_to(
        &self,
        server: usize,
        messages: &[Message],
        places: &[usize],
        verdicts: &mut [Verdict],
    ) {
        let idle = self.idle().get_mut(&server).and_then(Vec::pop);
        let connection = match idle {
            Some(connection) => Ok(connection),
            None => Connection::open(&self.addresses[server]).await,
        };
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                let trouble = self.trouble(server, &error);
                return note(verdicts, places, &Verdict::Retry(trouble));
            }
        };

        let commands = places.iter().map(|place| &messages[*place].command[..]);
        let request = commands.collect::<Vec<_>>().concat();
        // Nothing is known of records that a broken connection leaves without an answer.
        if let Err(error) = connection.send(&request).await {
            let trouble = self.trouble(server, &error);
            return note(verdicts, places, &Verdict::Partly(trouble));
        }
        let mut is_sound = true;
        for (answered, place) in places.iter().enumerate() {
            match connection.line().await {
                Ok(line) => {
                    is_sound &= !line.contains("ERROR");
                    verdicts[*place] = verdict(&line);
                }
                Err(error) => {
                    let trouble = self.trouble(server, &error);
                    return note(verdicts, &places[answered..], &Verdict::Partly(trouble));
                }
            }
        }
        // After an error, more lines may follow.
        if is_sound {
            self.idle().entry(server).or_default().push(connection);
        }
    }

    fn trouble(&self, server: usize, error: &io::Error) -> Trouble {
        let address = &self.addresses[server];
        let text = format!("memcached {address}: {error}");
        Trouble::new(TroubleKind::Unavailable, text)
    }
}

fn note(verdicts: &mut [Verdict], places: &[usize], verdict: &Verdict) {
    for place in places {
        verdicts[*place] = verdict.clone();
    }
}

fn check_key(key: &str) -> Result<(), Refusal> {
    let is_taken = |byte: u8| byte > b' ' && byte != 0x7f;
    if !key.is_empty() && key.len() <= KEY_BYTES && key.bytes().all(is_taken) {
        return Ok(());
    }
    let text = format!(
        "the partition key is no key of memcached: expected 1 to {KEY_BYTES} bytes without blanks \
         and control characters"
    );
    let refusal = Refusal::new("BadKey", text);
    Err(refusal)
}

/// The server of a key: the 256 values of the first byte of the key's MD5 in runs of equal length,
/// one for each of `servers`.
fn server_of(key: &str, servers: usize) -> usize {
    let first = Md5::digest(key.as_bytes())[0];
    usize::from(first) * servers / 256
}

fn verdict(line: &str) -> Verdict {
    let text = format!("memcached answers {line}");
    if line == "STORED" {
        return Verdict::Durable;
    }
    if line.starts_with("SERVER_ERROR object too large") || line.starts_with("CLIENT_ERROR") {
        let refusal = Refusal::new("NotStored", text);
        return Verdict::Refused(refusal);
    }
    let trouble = Trouble::new(TroubleKind::Unavailable, text);
    Verdict::Retry(trouble)
}

/// The addresses of the servers.
async fn addresses(settings: &Settings) -> io::Result<Vec<String>> {
    let servers = settings.server.as_slice();
    if !settings.discovery {
        return Ok(servers.to_vec());
    }
    let server = servers.first().map_or("", String::as_str);
    Connection::open(server).await?.cluster().await
}

/// Connects to every server.
async fn connect(settings: &Settings) -> io::Result<Servers> {
    let addresses = addresses(settings).await?;
    let mut idle = BTreeMap::new();
    for (server, address) in addresses.iter().enumerate() {
        let connection = Connection::open(address).await?;
        idle.insert(server, vec![connection]);
    }
    Ok(Servers {
        settings: settings.clone(),
        addresses,
        idle: Mutex::new(idle),
    })
}

pub(super) async fn build(
    settings: &Settings,
    context: &BuildContext,
) -> Result<BuiltOutput, BuildError> {
    let servers = connect(settings).await;
    let servers = servers.map_err(|source| BuildError::System {
        message: "cannot connect to memcached".to_owned(),
        source,
    })?;
    let identity = settings.target(&context.surroundings).text;
    let messages = Messages::new(servers, context.clock.clone());
    Ok(BuiltOutput {
        output: Arc::new(messages),
        pump: None,
        identity,
    })
}

pub(super) async fn check(settings: &Settings, context: &BuildContext) -> Vec<Finding> {
    let subject = settings.target(&context.surroundings).text;
    vec![match connect(settings).await {
        Ok(servers) => {
            let count = servers.addresses.len();
            Finding::fine(&subject, format!("{count} servers answer"))
        }
        Err(error) => Finding::failure(&subject, error.to_string()),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_protocol_are_taken() {
        assert!(check_key("schlüssel").is_ok() && check_key(&"k".repeat(250)).is_ok());
        for bad in ["", "a b", "a\n", "a\u{7f}", &"k".repeat(251)] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_first_byte_of_the_md5_chooses_the_server() {
        // MD5 of "a" begins with 0c, that of "b" with 92.
        assert_eq!([server_of("a", 2), server_of("b", 2)], [0, 1]);
        assert_eq!(server_of("b", 256), 0x92);
    }
}
