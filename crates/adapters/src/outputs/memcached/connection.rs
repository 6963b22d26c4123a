//! A connection to one memcached server. Protocol: memcached's `doc/protocol.txt`.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Bytes of an answer's line, at most.
const LINE_BYTES: u64 = 64 << 10;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(super) async fn open(server: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(super) async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(request).await
    }

    /// The next line of an answer, without the line break.
    pub(super) async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut limited = (&mut self.0).take(LINE_BYTES);
        limited.read_until(b'\n', &mut line).await?;
        let Some(text) = line.strip_suffix(b"\r\n") else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// The servers of an ElastiCache cluster: `HOST|IP|PORT` with blanks between them, in the
    /// second line of the configuration (Amazon ElastiCache user guide, "Adding auto discovery to
    /// your client library").
    pub(super) async fn cluster(&mut self) -> io::Result<Vec<String>> {
        self.send(b"config get cluster\r\n").await?;
        let head = self.line().await?;
        if !head.starts_with("CONFIG cluster") {
            let text = format!("the server does not know \"config get cluster\": {head}");
            return Err(io::Error::other(text));
        }

        // The value has a version, the servers and line breaks without carriage returns.
        let mut value = String::new();
        loop {
            let line = self.line().await?;
            if line == "END" {
                break;
            }
            value.push_str(&line);
            value.push('\n');
        }
        let servers = value.lines().nth(1).unwrap_or_default();
        let servers = servers.split_whitespace().filter_map(address);
        Ok(servers.collect())
    }
}

/// `HOST:PORT` of `HOST|IP|PORT`; the address is preferred, where there is one.
fn address(server: &str) -> Option<String> {
    let mut parts = server.split('|');
    let (host, ip, port) = (parts.next()?, parts.next()?, parts.next()?);
    let host = if ip.is_empty() { host } else { ip };
    Some(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn a_server_of_a_cluster_is_an_address_and_a_port() {
        let [both, name] = ["a.example.com|10.0.0.1|11211", "a.example.com||11211"];
        assert_eq!(address(both).as_deref(), Some("10.0.0.1:11211"));
        assert_eq!(address(name).as_deref(), Some("a.example.com:11211"));
        assert_eq!(address("a.example.com"), None);
    }
}
