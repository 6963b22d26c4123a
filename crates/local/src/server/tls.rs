//! A certificate made here and now, for clients that speak only HTTPS.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Names that the certificate is good for.
const NAMES: [&str; 5] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "host.docker.internal",
    "*.localhost",
];

/// A server's certificate and its key, signed by an authority that is made with it and signs nothing else.
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
        let names: Vec<String> = NAMES
            .iter()
            .map(|n| (*n).to_owned())
            .chain(more.iter().cloned())
            .collect();
        let failed = |source| TlsError::Make {
            names: names.clone(),
            source,
        };
        // Two certificates: OpenSSL trusts only what may sign, and rustls takes nothing that may sign as a server's own.
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Distributary's local authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
        ];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(failed)?)
            .map_err(failed)?;
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(names.clone()).map_err(failed)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "distributary local");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &authority).map_err(failed)?;
        Ok(Self {
            pem: authority.pem(),
            der: certificate.der().clone(),
            key,
        })
    }

    /// The authority's certificate as PEM, for clients to trust (`AWS_CA_BUNDLE`).
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes the PEM to a file.
    ///
    /// # Errors
    /// [`TlsError::Write`].
    pub fn write_pem(&self, path: &Path) -> Result<(), TlsError> {
        std::fs::write(path, &self.pem).map_err(|source| TlsError::Write {
            path: path.display().to_string(),
            source,
        })
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
