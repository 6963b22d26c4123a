//! New connections: name lookup, TCP, proxies, TLS.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::PROXY_AUTHORIZATION;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::lookup::Lookups;
use super::pool::Origin;

/// The time between two TCP keep-alive probes.
const KEEPALIVE: Duration = Duration::from_secs(30);

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The reason why the trusted certificates are not known.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of `AWS_CA_BUNDLE` cannot be read.
    #[error(
        "the CA bundle {} cannot be read; correct AWS_CA_BUNDLE, or unset it",
        path.display()
    )]
    Bundle {
        /// The path as given.
        path: PathBuf,
        /// The error of the file or of its content.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The file of `AWS_CA_BUNDLE` has no certificate.
    #[error(
        "the CA bundle {} has no certificate; correct AWS_CA_BUNDLE, or unset it",
        path.display()
    )]
    Empty {
        /// The path as given.
        path: PathBuf,
    },
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// The reason why there is no connection, where the reason tells the remedy.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoConnection {
    #[error("the proxy {0} is not an http:// proxy, the only kind that is supported")]
    ProxyScheme(String),
    #[error(
        "the proxy {proxy} is not reached; correct HTTPS_PROXY or HTTP_PROXY, or add {to} to NO_PROXY"
    )]
    Proxy {
        proxy: String,
        to: String,
        #[source]
        source: Failed,
    },
    #[error(
        "the proxy {proxy} wants a user name and a password (407); give both in HTTPS_PROXY: \
         http://USER:PASSWORD@HOST:PORT"
    )]
    ProxyPassword { proxy: String },
    #[error("the proxy {proxy} makes no tunnel to {to}; allow {to} there, or add {to} to NO_PROXY")]
    Tunnel {
        proxy: String,
        to: String,
        #[source]
        source: Failed,
    },
    #[error("the certificate of {host} is refused: {reason}")]
    Certificate { host: String, reason: String },
    #[error("{host} answers without TLS; give http:// in place of https://, or another port")]
    NoTls { host: String },
    #[error("the TLS handshake with {host} failed")]
    Handshake {
        host: String,
        #[source]
        source: std::io::Error,
    },
}

/// A TLS handshake's failure, in words for the user.
fn handshake_error(host: &str, error: std::io::Error) -> NoConnection {
    let host = host.to_owned();
    let of_tls = error.get_ref().and_then(|e| e.downcast_ref());
    match of_tls {
        Some(rustls::Error::InvalidCertificate(why)) => NoConnection::Certificate {
            host,
            reason: certificate_reason(why),
        },
        Some(rustls::Error::InvalidMessage(_)) => NoConnection::NoTls { host },
        Some(_) | None => NoConnection::Handshake {
            host,
            source: error,
        },
    }
}

fn certificate_reason(error: &CertificateError) -> String {
    use CertificateError as E;
    let reason = match error {
        E::UnknownIssuer | E::BadSignature => {
            "no trusted authority has signed it; name the authority's file in AWS_CA_BUNDLE, or as \
             ca_bundle in the AWS profile"
        }
        E::Expired | E::ExpiredContext { .. } => "it has expired, or this machine's clock is wrong",
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "it is not valid yet, or this machine's clock is wrong"
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "it is for other names; check the endpoint"
        }
        E::Revoked => "it was revoked",
        other => return other.to_string(),
    };
    reason.to_owned()
}

/// A connection to a server, or to a proxy.
pub(super) struct Connected {
    pub(super) io: Stream,
    pub(super) forward: Option<Forward>,
}

/// A proxy that forwards plain requests.
#[derive(Clone, Debug)]
pub(super) struct Forward {
    /// The value of the `Proxy-Authorization` header.
    auth: Option<HeaderValue>,
}

/// Addresses `request` for the connection: with the whole URI for a forwarding proxy, else with the
/// path alone.
pub(super) fn address<B>(request: &mut http::Request<B>, forward: Option<&Forward>) {
    match forward {
        Some(Forward { auth }) => {
            if let Some(auth) = auth {
                request
                    .headers_mut()
                    .insert(PROXY_AUTHORIZATION, auth.clone());
            }
        }
        None => {
            let path = request.uri().path_and_query().cloned();
            *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        }
    }
}

/// Makes connections.
pub(super) struct Connector {
    tcp: HttpConnector<Lookups>,
    tls: TlsConnector,
    proxies: Matcher,
}

impl Connector {
    /// A connector with the proxies of the environment, and the certificates of `bundle`, else of
    /// the environment.
    pub(super) fn from_env(timeout: Duration, bundle: Option<&Path>) -> Result<Self, TlsError> {
        let of_env = std::env::var_os("AWS_CA_BUNDLE")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        let bundle = bundle.or(of_env.as_deref());
        let connector = Self::new(timeout, bundle, None)?;
        Ok(Self {
            proxies: Matcher::from_env(),
            ..connector
        })
    }

    /// A connector with the certificates of `bundle` (else the system's), through `proxy` (else
    /// none).
    pub(super) fn new(
        timeout: Duration,
        bundle: Option<&Path>,
        proxy: Option<&str>,
    ) -> Result<Self, TlsError> {
        let mut tcp = HttpConnector::new_with_resolver(Lookups::of_system());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        // Detects peers that are gone without closing the connection.
        tcp.set_keepalive(Some(KEEPALIVE));

        let proxies = proxy.map_or_else(
            || Matcher::builder().build(),
            |p| Matcher::builder().all(p).build(),
        );
        Ok(Self {
            tcp,
            tls: TlsConnector::from(Arc::new(tls_config(bundle)?)),
            proxies,
        })
    }

    pub(super) async fn connect(&self, origin: &Origin) -> Result<Connected, Failed> {
        let Origin {
            tls, host, port, ..
        } = origin;
        let scheme = if *tls { "https" } else { "http" };
        let uri: Uri = format!("{scheme}://{host}:{port}/").parse()?;
        // The machine's metadata service is asked directly, never through a proxy.
        if !origin.direct
            && !is_link_local(host)
            && let Some(proxy) = self.proxies.intercept(&uri)
        {
            return self.connect_through(&proxy, *tls, host, uri).await;
        }

        let tcp = call(self.tcp.clone(), uri).await?.into_inner();
        Ok(Connected {
            io: self.secure(*tls, host, tcp).await?,
            forward: None,
        })
    }

    /// Connects to the server at `uri` by a tunnel of `proxy`, or to `proxy` itself for plain
    /// requests.
    async fn connect_through(
        &self,
        proxy: &Intercept,
        tls: bool,
        host: &str,
        uri: Uri,
    ) -> Result<Connected, Failed> {
        let to = proxy.uri().clone();
        let auth = proxy.basic_auth().cloned();
        if to.scheme_str() != Some("http") {
            return Err(NoConnection::ProxyScheme(to.to_string()).into());
        }
        if tls {
            let tcp = self.tunnel(to, auth, uri).await?;
            return Ok(Connected {
                io: self.secure(true, host, tcp).await?,
                forward: None,
            });
        }

        let made = call(self.tcp.clone(), to.clone()).await;
        let tcp = made.map_err(|source| NoConnection::Proxy {
            proxy: to.to_string(),
            to: host.to_owned(),
            source,
        })?;
        Ok(Connected {
            io: Stream::Plain(TokioIo::new(tcp.into_inner())),
            forward: Some(Forward { auth }),
        })
    }

    /// A connection to the server at `uri`, made by the proxy `to`.
    async fn tunnel(
        &self,
        to: Uri,
        auth: Option<HeaderValue>,
        uri: Uri,
    ) -> Result<TcpStream, NoConnection> {
        let mut tunnel = Tunnel::new(to.clone(), self.tcp.clone());
        if let Some(auth) = auth {
            tunnel = tunnel.with_auth(auth);
        }
        let server = uri.authority().map(ToString::to_string);
        let made = call(tunnel, uri).await;

        made.map(TokioIo::into_inner).map_err(|source| {
            let proxy = to.to_string();
            let to = server.unwrap_or_default();
            // The library's error has no kind that could be asked for.
            if source.to_string().contains("proxy authorization required") {
                NoConnection::ProxyPassword { proxy }
            } else {
                NoConnection::Tunnel { proxy, to, source }
            }
        })
    }

    async fn secure(&self, tls: bool, host: &str, tcp: TcpStream) -> Result<Stream, Failed> {
        if !tls {
            return Ok(Stream::Plain(TokioIo::new(tcp)));
        }
        // An IPv6 address has brackets in a URL, and none in a certificate.
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())?;
        let shaken = self.tls.connect(name, tcp).await;
        let stream = shaken.map_err(|error| handshake_error(host, error))?;
        Ok(Stream::Tls(Box::new(TokioIo::new(stream))))
    }
}

/// One use of a connector.
async fn call<S: Service<Uri>>(mut service: S, uri: Uri) -> Result<S::Response, Failed>
where
    S::Error: Into<Failed>,
{
    std::future::poll_fn(|cx| service.poll_ready(cx))
        .await
        .map_err(Into::into)?;
    service.call(uri).await.map_err(Into::into)
}

/// True for 169.254.0.0/16, and the IPv6 addresses of EC2's metadata service and of EKS Pod
/// Identity.
fn is_link_local(host: &str) -> bool {
    let of_ipv6 = ["[fd00:ec2::254]", "[fd00:ec2::23]"];
    host.starts_with("169.254.") || of_ipv6.iter().any(|at| host.eq_ignore_ascii_case(at))
}

/// True for this machine's own addresses.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    let is_address = address.is_ok_and(|at| at.is_loopback());
    is_address || host.eq_ignore_ascii_case("localhost")
}

fn tls_config(bundle: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let roots = match bundle {
        Some(path) => roots_of_bundle(path)?,
        None => roots_of_system(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;

    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots_of_bundle(path: &Path) -> Result<RootCertStore, TlsError> {
    let failed = |source| TlsError::Bundle {
        path: path.to_owned(),
        source,
    };
    let certificates: Vec<CertificateDer<'_>> = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;

    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(TlsError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(roots)
}

fn roots_of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        // A container without certificates.
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// A connection as hyper takes it.
pub(super) enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{is_link_local, is_loopback};

    #[test]
    fn metadata_services_are_asked_directly() {
        assert!(is_link_local("169.254.169.254") && is_link_local("[fd00:ec2::254]"));
        assert!(is_link_local("169.254.170.23") && is_link_local("[fd00:ec2::23]"));
        assert!(
            !is_link_local("169.255.1.1") && !is_link_local("kinesis.eu-central-1.amazonaws.com")
        );
        for host in ["localhost", "127.0.0.2", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        assert!(!is_loopback("localhost.example") && !is_loopback("10.0.0.1"));
    }
}
