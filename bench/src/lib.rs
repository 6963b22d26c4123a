//! What the benchmark's own programs share: one HTTP exchange with nothing in the way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A blocking TLS connection.
pub type Connection = StreamOwned<ClientConnection, TcpStream>;

/// A TLS connection that trusts `ca` alone.
pub fn connect(address: &str, ca: &str) -> Result<Connection> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let host = address.split(':').next().context("address")?.to_owned();
    let client = ClientConnection::new(Arc::new(config), ServerName::try_from(host)?)?;
    let tcp = TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    Ok(StreamOwned::new(client, tcp))
}

/// One request, with the headers that Kinesis wants; the embedded Kinesis checks no signature.
pub fn request(address: &str, operation: &str, cbor: bool, body: &[u8]) -> Vec<u8> {
    let kind = if cbor { "cbor" } else { "json" };
    let mut all = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\nx-amz-target: Kinesis_20131202.{operation}\r\ncontent-type: application/x-amz-{kind}-1.1\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00\r\n\
         x-amz-date: 20260101T000000Z\r\ncontent-length: {}\r\n\r\n",
        address,
        body.len()
    )
    .into_bytes();
    all.extend_from_slice(body);
    all
}

/// Writes a request and reads its answer into `buffer`; the length of the answer's body and where it starts.
pub fn exchange(
    connection: &mut (impl Read + Write),
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(usize, usize)> {
    connection.write_all(request)?;
    connection.flush()?;
    buffer.resize(buffer.capacity().max(1 << 16), 0);
    let mut have = 0;
    let (start, length) = loop {
        let read = connection.read(&mut buffer[have..])?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        have += read;
        if let Some(end) = buffer[..have].windows(4).position(|w| w == b"\r\n\r\n") {
            let head = std::str::from_utf8(&buffer[..end])?;
            if !head.starts_with("HTTP/1.1 200") {
                bail!("the server answered: {head}");
            }
            let length = head
                .lines()
                .find_map(|l| {
                    l.to_ascii_lowercase()
                        .strip_prefix("content-length:")
                        .map(|v| v.trim().parse::<usize>())
                })
                .context("no content-length")??;
            break (end + 4, length);
        }
    };
    if buffer.len() < start + length {
        buffer.resize(start + length, 0);
    }
    while have < start + length {
        let read = connection.read(&mut buffer[have..start + length])?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        have += read;
    }
    Ok((start, length))
}

/// One call in JSON, its answer's body.
pub fn json_call(
    address: &str,
    connection: &mut (impl Read + Write),
    operation: &str,
    body: &serde_json::Value,
) -> Result<serde_json::Value> {
    let mut buffer = Vec::new();
    let (start, length) = exchange(
        connection,
        &request(address, operation, false, body.to_string().as_bytes()),
        &mut buffer,
    )?;
    Ok(serde_json::from_slice(&buffer[start..start + length])?)
}

/// A CBOR text or byte string's head and bytes.
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

/// A `PutRecords` body of 500 records, in CBOR.
pub fn put_body(stream: &str, records: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![0xA2];
    string(&mut out, 3, b"Records");
    out.push(0x99);
    out.extend((records.len() as u16).to_be_bytes());
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
