//! The credentials that sign requests: static, or from the AWS chain, cached and renewed before and
//! after they expire.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::provider::error::CredentialsError as ProviderError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use distributary_core::clock::{Clock, Millis};
use distributary_core::secrets;
use distributary_core::sync::lock;
use distributary_wire::sigv4::Credentials;

/// Temporary credentials are renewed in the background when their remaining lifetime is shorter.
const RENEW_AHEAD: Duration = Duration::from_secs(5 * 60);
/// Credentials with a shorter remaining lifetime are not used any more: a request may take a while
/// to arrive.
const LIFETIME_MIN: Duration = Duration::from_secs(20);

/// The reason why there are no credentials.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CredentialsError {
    /// No provider of the chain has credentials.
    #[error(
        "no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a \
         profile, sign in with `aws sso login`, or give this machine a role (for a local server any \
         key will do)"
    )]
    None,
    /// The profile that the user named has no credentials.
    #[error(
        "the AWS profile {profile:?} does not exist or has no credentials; look into ~/.aws/config \
         and ~/.aws/credentials (or the files that AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE \
         name)"
    )]
    Profile {
        /// The profile.
        profile: String,
    },
    /// The provider failed.
    #[error("the AWS credentials could not be fetched")]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

/// A source of credentials.
#[async_trait]
pub trait CredentialsSource: fmt::Debug + Send + Sync + 'static {
    /// Credentials that are valid now.
    async fn get(&self) -> Result<Credentials, CredentialsError>;

    /// Other credentials than `stale`, which a server has refused; the same credentials if there
    /// are no others.
    async fn renew(&self, stale: &Credentials) -> Result<Credentials, CredentialsError>;
}

/// Credentials that never change.
#[derive(Debug)]
pub struct Static(pub Credentials);

impl Static {
    /// Credentials for servers that do not check any: the embedded Kinesis. No configuration is
    /// read.
    pub fn local() -> Self {
        Self(Credentials {
            access_key_id: "local".to_owned(),
            secret_access_key: "local".to_owned(),
            session_token: None,
        })
    }
}

#[async_trait]
impl CredentialsSource for Static {
    async fn get(&self) -> Result<Credentials, CredentialsError> {
        Ok(self.0.clone())
    }

    async fn renew(&self, _stale: &Credentials) -> Result<Credentials, CredentialsError> {
        Ok(self.0.clone())
    }
}

/// Credentials of a provider of aws-config: kept until they expire, and renewed in the background
/// before that.
pub struct Provided(Arc<Inner>);

struct Inner {
    provider: SharedCredentialsProvider,
    /// The profile that the user named, for messages.
    profile: Option<String>,
    clock: Clock,
    kept: Mutex<Option<Kept>>,
    /// Held while the provider is asked, so that concurrent calls ask once.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Kept {
    credentials: Credentials,
    /// The time of expiry; `None` for credentials that do not expire.
    until: Option<Millis>,
}

impl fmt::Debug for Provided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provided")
    }
}

impl Provided {
    /// Credentials of `provider`, fetched when first needed. Errors name `profile`, the profile
    /// that the user named.
    pub fn new(provider: SharedCredentialsProvider, profile: Option<String>, clock: Clock) -> Self {
        let (kept, asking) = (Mutex::new(None), tokio::sync::Mutex::new(()));
        Self(Arc::new(Inner {
            provider,
            profile,
            clock,
            kept,
            asking,
        }))
    }
}

impl Inner {
    fn kept(&self) -> Option<Kept> {
        lock(&self.kept).clone()
    }

    /// The kept credentials, if they are valid for longer than `lifetime`.
    fn valid_for(&self, lifetime: Duration) -> Option<Credentials> {
        let kept = self.kept()?;
        let end = self.clock.wall().plus(lifetime);
        let valid = kept.until.is_none_or(|until| end < until);
        valid.then_some(kept.credentials)
    }

    async fn ask(&self) -> Result<Credentials, CredentialsError> {
        let provided = self.provider.provide_credentials().await;
        let provided = provided.map_err(|error| self.error(error))?;

        let credentials = Credentials {
            access_key_id: provided.access_key_id().to_owned(),
            secret_access_key: provided.secret_access_key().to_owned(),
            session_token: provided.session_token().map(str::to_owned),
        };
        remember(&credentials);
        *lock(&self.kept) = Some(Kept {
            credentials: credentials.clone(),
            until: provided.expiry().map(millis),
        });
        Ok(credentials)
    }

    fn error(&self, error: ProviderError) -> CredentialsError {
        match (error, &self.profile) {
            (ProviderError::CredentialsNotLoaded(_), Some(profile)) => CredentialsError::Profile {
                profile: profile.clone(),
            },
            (ProviderError::CredentialsNotLoaded(_), None) => CredentialsError::None,
            (other, _) => CredentialsError::Failed(Arc::new(other)),
        }
    }

    /// Asks the provider ahead of time, unless another call does. The next request tries again
    /// after a failure.
    async fn renew_ahead(&self) {
        if let Ok(_asking) = self.asking.try_lock()
            && self.valid_for(RENEW_AHEAD).is_none()
            && let Err(error) = self.ask().await
        {
            tracing::warn!(
                error = %error,
                "the AWS credentials could not be renewed ahead of time"
            );
        }
    }
}

/// Keeps the secret parts out of every text of this process.
pub(crate) fn remember(credentials: &Credentials) {
    secrets::remember(&credentials.secret_access_key);
    if let Some(token) = &credentials.session_token {
        secrets::remember(token);
    }
}

fn millis(at: std::time::SystemTime) -> Millis {
    let since = at.duration_since(std::time::UNIX_EPOCH);
    Millis(0).plus(since.unwrap_or_default())
}

#[async_trait]
impl CredentialsSource for Provided {
    async fn get(&self) -> Result<Credentials, CredentialsError> {
        let inner = &self.0;
        if let Some(credentials) = inner.valid_for(RENEW_AHEAD) {
            return Ok(credentials);
        }
        if let Some(credentials) = inner.valid_for(LIFETIME_MIN) {
            let inner = Arc::clone(inner);
            tokio::spawn(async move { inner.renew_ahead().await });
            return Ok(credentials);
        }

        let _asking = inner.asking.lock().await;
        // Another call may have asked meanwhile.
        match inner.valid_for(LIFETIME_MIN) {
            Some(credentials) => Ok(credentials),
            None => inner.ask().await,
        }
    }

    async fn renew(&self, stale: &Credentials) -> Result<Credentials, CredentialsError> {
        let inner = &self.0;
        let _asking = inner.asking.lock().await;
        match inner.valid_for(LIFETIME_MIN) {
            Some(credentials) if credentials != *stale => Ok(credentials),
            Some(_) | None => inner.ask().await,
        }
    }
}
