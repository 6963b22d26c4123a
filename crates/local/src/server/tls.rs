//! A self-made certificate, for clients that support only HTTPS.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Host names of every certificate.
const NAMES: [&str; 5] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "host.docker.internal",
    "*.localhost",
];

/// A server's certificate with the private key. The certificate is signed by an authority that is
/// created at the same time and signs nothing else.
#[derive(Debug)]
pub struct Certificate {
    /// The authority's certificate.
    authority_pem: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

/// Error of making or using a certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate cannot be made.
    #[error("cannot make a certificate for {names:?}; remove the names that are no host names")]
    Make {
        /// The host names of the certificate.
        names: Vec<String>,
        /// The error of the library.
        #[source]
        source: rcgen::Error,
    },
    /// The TLS library refuses the certificate.
    #[error("cannot use the certificate; make a new one")]
    Use(#[source] rustls::Error),
    /// The certificate cannot be written to a file.
    #[error("cannot write the certificate to {path}; choose a writable path")]
    Write {
        /// The path as given.
        path: String,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
}

impl Certificate {
    /// Makes a certificate for this machine's loopback names and for further names.
    ///
    /// # Errors
    /// [`TlsError::Make`].
    pub fn generate(further_names: &[String]) -> Result<Self, TlsError> {
        let mut names: Vec<String> = NAMES.map(str::to_owned).to_vec();
        names.extend_from_slice(further_names);
        Self::for_names(names.clone()).map_err(|source| TlsError::Make { names, source })
    }

    /// Makes an authority and a certificate signed by the authority. Two certificates are needed:
    /// OpenSSL trusts only an authority, and rustls refuses an authority as a server's certificate.
    fn for_names(names: Vec<String>) -> Result<Self, rcgen::Error> {
        let authority = new_authority()?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "distributary local");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &authority)?;

        Ok(Self {
            authority_pem: authority.pem(),
            der: certificate.der().clone(),
            key,
        })
    }

    /// The authority's certificate as PEM, for clients to trust (`AWS_CA_BUNDLE`).
    pub fn pem(&self) -> &str {
        &self.authority_pem
    }

    /// Writes [`pem`](Self::pem) to a file.
    ///
    /// # Errors
    /// [`TlsError::Write`].
    pub fn write_pem(&self, path: &Path) -> Result<(), TlsError> {
        std::fs::write(path, &self.authority_pem).map_err(|source| TlsError::Write {
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

fn new_authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Distributary's local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
    ];

    let key = KeyPair::generate()?;
    CertifiedIssuer::self_signed(params, key)
}
