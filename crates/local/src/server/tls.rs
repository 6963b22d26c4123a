//! A certificate made here and now, for clients that speak only HTTPS.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Names that the certificate is good for.
const NAMES: [&str; 5] = ["localhost", "127.0.0.1", "::1", "host.docker.internal", "*.localhost"];

/// A self-signed certificate and its key.
#[derive(Debug)]
pub struct Certificate {
    pem: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate cannot be made.
    #[error("cannot make a certificate for {names:?}; leave out names that are none")]
    Make {
        /// The names it was to be for.
        names: Vec<String>,
        /// What the library said.
        #[source]
        source: rcgen::Error,
    },
    /// The library does not take it.
    #[error("cannot use the certificate")]
    Use(#[source] rustls::Error),
    /// The certificate cannot be written down.
    #[error("cannot write the certificate to {path}; choose a place that can be written to")]
    Write {
        /// As given.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Certificate {
    /// A new one, for this machine's loopback names and for `more`.
    ///
    /// # Errors
    /// [`TlsError::Make`].
    pub fn generate(more: &[String]) -> Result<Self, TlsError> {
        let names: Vec<String> = NAMES.iter().map(|n| (*n).to_owned()).chain(more.iter().cloned()).collect();
        let failed = |source| TlsError::Make { names: names.clone(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(names.clone()).map_err(failed)?;
        // Some clients take as trusted only what may sign.
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self { pem: certificate.pem(), der: certificate.der().clone(), key })
    }

    /// The certificate as PEM, for clients to trust (`AWS_CA_BUNDLE`).
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes the PEM to a file.
    ///
    /// # Errors
    /// [`TlsError::Write`].
    pub fn write_pem(&self, path: &Path) -> Result<(), TlsError> {
        std::fs::write(path, &self.pem)
            .map_err(|source| TlsError::Write { path: path.display().to_string(), source })
    }

    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Use)?
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .map_err(TlsError::Use)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
