//! A server, and one HTTP exchange with nothing in the way, shared by the benchmark's own programs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

/// Room for an answer without records.
pub const SMALL_ANSWER: usize = 1 << 17;

/// A blocking TLS connection.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A server, and one connection to it.
#[derive(Debug)]
pub struct Server<C> {
    /// Host and port.
    address: String,
    connection: C,
}

impl Server<TcpStream> {
    /// Connects without TLS. `address` is host and port.
    ///
    /// # Errors
    /// When nothing listens there.
    pub fn plain(address: &str) -> Result<Self> {
        let connection = TcpStream::connect(address)?;
        connection.set_nodelay(true)?;
        Ok(Self {
            address: address.to_owned(),
            connection,
        })
    }
}

impl Server<Tls> {
    /// Connects with TLS, and trusts `ca` alone, a PEM file. `address` is host and port.
    ///
    /// # Errors
    /// When nothing listens there, or the file has no certificate.
    pub fn tls(address: &str, ca: &str) -> Result<Self> {
        let config = ClientConfig::builder()
            .with_root_certificates(roots(ca)?)
            .with_no_client_auth();

        let (host, _) = address.split_once(':').context("expected HOST:PORT")?;
        let name = ServerName::try_from(host.to_owned())?;
        let client = ClientConnection::new(Arc::new(config), name)?;

        let Server {
            address,
            connection,
        } = Server::plain(address)?;
        Ok(Self {
            address,
            connection: StreamOwned::new(client, connection),
        })
    }
}

fn roots(ca: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        let certificate = certificate?;
        roots.add(certificate)?;
    }
    Ok(roots)
}

impl<C: Read + Write> Server<C> {
    /// One request in CBOR, to be written by [`Server::exchange`].
    pub fn request(&self, operation: &str, body: &[u8]) -> Vec<u8> {
        request(&self.address, operation, Coding::Cbor, body)
    }

    /// A `PutRecords` request of records with partition key and data.
    pub fn put_request(&self, stream: &str, records: &[(String, Vec<u8>)]) -> Vec<u8> {
        let body = put_body(stream, records);
        self.request("PutRecords", &body)
    }

    /// Writes a request and reads the answer into `buffer`. Returns the answer's body.
    ///
    /// # Errors
    /// When the server closes the connection or answers anything but 200.
    pub fn exchange<'b>(&mut self, request: &[u8], buffer: &'b mut Vec<u8>) -> Result<&'b [u8]> {
        self.connection.write_all(request)?;
        self.connection.flush()?;
        read_answer(&mut self.connection, buffer)
    }

    /// One call in JSON. Returns the body of the answer.
    ///
    /// # Errors
    /// As [`Server::exchange`], and when the answer is not JSON.
    pub fn json(&mut self, operation: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let body = body.as_bytes();
        let request = request(&self.address, operation, Coding::Json, body);

        let mut buffer = Vec::new();
        let answer = self.exchange(&request, &mut buffer)?;
        let answer = serde_json::from_slice(answer)?;
        Ok(answer)
    }

    /// The start of a shard of `stream`; none for a shard that has ended.
    ///
    /// # Errors
    /// As [`Server::json`].
    pub fn first_iterator(&mut self, stream: &str, shard: &str) -> Result<Option<String>> {
        let body = json!({
            "StreamName": stream,
            "ShardId": shard,
            "ShardIteratorType": "TRIM_HORIZON",
        });
        let answer = self.json("GetShardIterator", &body)?;

        let iterator = answer["ShardIterator"].as_str();
        Ok(iterator.map(str::to_owned))
    }
}

/// The coding of a request's body.
#[derive(Clone, Copy, Debug)]
enum Coding {
    /// `application/x-amz-cbor-1.1`.
    Cbor,
    /// `application/x-amz-json-1.1`.
    Json,
}

/// One request, with the headers that Kinesis wants. The embedded Kinesis checks no signature.
fn request(address: &str, operation: &str, coding: Coding, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let kind = match coding {
        Coding::Cbor => "cbor",
        Coding::Json => "json",
    };

    let head = format!(
        "POST / HTTP/1.1\r\n\
         host: {address}\r\n\
         x-amz-target: Kinesis_20131202.{operation}\r\n\
         content-type: application/x-amz-{kind}-1.1\r\n\
         authorization: AWS4-HMAC-SHA256 \
         Credential=AKID/20260101/us-east-1/kinesis/aws4_request, \
         SignedHeaders=host, Signature=00\r\n\
         x-amz-date: 20260101T000000Z\r\n\
         content-length: {length}\r\n\r\n"
    );

    let mut all = head.into_bytes();
    all.extend_from_slice(body);
    all
}

/// Reads an answer into `buffer`. Returns the answer's body.
fn read_answer<'b>(connection: &mut impl Read, buffer: &'b mut Vec<u8>) -> Result<&'b [u8]> {
    let room = buffer.capacity().max(1 << 16);
    buffer.resize(room, 0);

    let mut have = 0;
    let start = loop {
        have += read_some(connection, &mut buffer[have..])?;
        if let Some(start) = end_of_head(&buffer[..have]) {
            break start;
        }
    };

    let length = content_length(&buffer[..start])?;
    let end = start + length;
    if buffer.len() < end {
        buffer.resize(end, 0);
    }
    while have < end {
        have += read_some(connection, &mut buffer[have..end])?;
    }
    Ok(&buffer[start..end])
}

fn end_of_head(answer: &[u8]) -> Option<usize> {
    let mut windows = answer.windows(4);
    let at = windows.position(|window| window == b"\r\n\r\n")?;
    Some(at + 4)
}

fn read_some(connection: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let read = connection.read(buffer)?;
    if read == 0 {
        bail!("the server closed the connection");
    }
    Ok(read)
}

/// The length of the body of an answer with this head.
fn content_length(head: &[u8]) -> Result<usize> {
    let head = std::str::from_utf8(head)?.trim_end();
    if !head.starts_with("HTTP/1.1 200") {
        bail!("the server answered: {head}");
    }

    for line in head.lines() {
        let line = line.to_ascii_lowercase();
        if let Some(length) = line.strip_prefix("content-length:") {
            let length = length.trim();
            return Ok(length.parse()?);
        }
    }
    bail!("no content-length")
}

/// Writes a CBOR text of less than 64 KiB.
pub fn text(out: &mut Vec<u8>, text: &str) {
    string(out, 3, text.as_bytes());
}

/// Writes a CBOR text (`major` 3) or byte string (`major` 2) of less than 64 KiB: head and bytes.
fn string(out: &mut Vec<u8>, major: u8, bytes: &[u8]) {
    match bytes.len() {
        n @ 0..=23 => out.push(major << 5 | n as u8),
        n @ 24..=255 => out.extend([major << 5 | 24, n as u8]),
        n => {
            let length = n as u16;
            out.push(major << 5 | 25);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(bytes);
}

/// A `PutRecords` body in CBOR, of records with partition key and data.
fn put_body(stream: &str, records: &[(String, Vec<u8>)]) -> Vec<u8> {
    let count = records.len() as u16;
    let mut out = vec![0xA2];
    text(&mut out, "Records");
    out.push(0x99);
    out.extend(count.to_be_bytes());

    for (key, data) in records {
        out.push(0xA2);
        text(&mut out, "Data");
        string(&mut out, 2, data);
        text(&mut out, "PartitionKey");
        text(&mut out, key);
    }

    text(&mut out, "StreamName");
    text(&mut out, stream);
    out
}

/// Bytes that do not compress and cost little, without end.
#[derive(Debug)]
pub struct Noise {
    state: u64,
}

impl Default for Noise {
    fn default() -> Self {
        Self { state: 1 }
    }
}

impl Iterator for Noise {
    type Item = u8;

    /// One step of xorshift.
    fn next(&mut self) -> Option<u8> {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        Some(self.state as u8)
    }
}
