//! One HTTP exchange with nothing in the way, shared by the benchmark's own programs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A blocking TLS connection.
pub type Connection = StreamOwned<ClientConnection, TcpStream>;

/// A TLS connection that trusts `ca` alone, a PEM file. `address` is host and port.
pub fn connect(address: &str, ca: &str) -> Result<Connection> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }

    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let host = address.split(':').next().context("address")?.to_owned();
    let name = ServerName::try_from(host)?;
    let client = ClientConnection::new(Arc::new(config), name)?;

    let tcp = TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    Ok(StreamOwned::new(client, tcp))
}

/// The coding of a request's body.
#[derive(Clone, Copy, Debug)]
pub enum Coding {
    /// `application/x-amz-cbor-1.1`.
    Cbor,
    /// `application/x-amz-json-1.1`.
    Json,
}

/// One request, with the headers that Kinesis wants. The embedded Kinesis checks no signature.
pub fn request(address: &str, operation: &str, coding: Coding, body: &[u8]) -> Vec<u8> {
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

/// Writes a request and reads the answer into `buffer`. Returns the start and the length of the
/// answer's body.
///
/// # Errors
/// When the server closes the connection or answers anything but 200.
pub fn exchange(
    connection: &mut (impl Read + Write),
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(usize, usize)> {
    connection.write_all(request)?;
    connection.flush()?;
    buffer.resize(buffer.capacity().max(1 << 16), 0);

    let mut have = 0;
    let start = loop {
        have += read_some(connection, &mut buffer[have..])?;
        let mut windows = buffer[..have].windows(4);
        if let Some(end) = windows.position(|w| w == b"\r\n\r\n") {
            break end + 4;
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
    Ok((start, length))
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
            return Ok(length.trim().parse()?);
        }
    }
    bail!("no content-length")
}

/// One call in JSON. Returns the body of the answer.
pub fn json_call(
    address: &str,
    connection: &mut (impl Read + Write),
    operation: &str,
    body: &serde_json::Value,
) -> Result<serde_json::Value> {
    let body = body.to_string();
    let request = request(address, operation, Coding::Json, body.as_bytes());

    let mut buffer = Vec::new();
    let (start, length) = exchange(connection, &request, &mut buffer)?;
    let answer = &buffer[start..start + length];
    Ok(serde_json::from_slice(answer)?)
}

/// A CBOR text (`major` 3) or byte string (`major` 2) of less than 64 KiB: head and bytes.
pub fn string(out: &mut Vec<u8>, major: u8, bytes: &[u8]) {
    match bytes.len() {
        n @ 0..=23 => out.push(major << 5 | n as u8),
        n @ 24..=255 => out.extend([major << 5 | 24, n as u8]),
        n => {
            out.push(major << 5 | 25);
            out.extend((n as u16).to_be_bytes());
        }
    }
    out.extend(bytes);
}

/// A `PutRecords` body in CBOR, of records with partition key and data.
pub fn put_body(stream: &str, records: &[(String, Vec<u8>)]) -> Vec<u8> {
    let count = records.len() as u16;
    let mut out = vec![0xA2];
    string(&mut out, 3, b"Records");
    out.push(0x99);
    out.extend(count.to_be_bytes());

    for (key, data) in records {
        out.push(0xA2);
        string(&mut out, 3, b"Data");
        string(&mut out, 2, data);
        string(&mut out, 3, b"PartitionKey");
        string(&mut out, 3, key.as_bytes());
    }

    string(&mut out, 3, b"StreamName");
    string(&mut out, 3, stream.as_bytes());
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
