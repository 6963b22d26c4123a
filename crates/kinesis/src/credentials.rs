//! What requests are signed with: static, or from the AWS chain, cached and renewed before and after they expire.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::provider::error::CredentialsError as ProviderError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use distributary_core::clock::{Clock, Millis};
use distributary_core::sync::lock;
use distributary_wire::sigv4::Credentials;

/// Temporary credentials are renewed in the background when they are good for less than this.
const RENEW_AHEAD: Duration = Duration::from_secs(5 * 60);
/// Credentials that are good for less than this are not used any more: a request may take a while to arrive.
const MARGIN: Duration = Duration::from_secs(20);

/// Why there are no credentials.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Nothing in the chain has any.
    #[error(
        "no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, sign in with \
         `aws sso login`, or give this machine a role (for a local server any key will do)"
    )]
    None,
    /// The profile that was named has none.
    #[error(
        "the AWS profile {profile:?} does not exist or has no credentials; look into ~/.aws/config and \
         ~/.aws/credentials (or the files that AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name)"
    )]
    Profile {
        /// The profile.
        profile: String,
    },
    /// There should be some, but they could not be fetched.
    #[error("the AWS credentials could not be fetched")]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

/// Where credentials come from.
#[async_trait]
pub trait CredentialsSource: fmt::Debug + Send + Sync + 'static {
    /// Credentials that are good now.
    async fn get(&self) -> Result<Credentials, CredentialsError>;

    /// Other credentials than `stale`, which a server has refused; the same if there are no others.
    async fn renew(&self, stale: &Credentials) -> Result<Credentials, CredentialsError>;
}

/// Credentials that never change.
#[derive(Debug)]
pub struct Static(pub Credentials);

impl Static {
    /// For servers that look at no credentials: the embedded Kinesis. Nothing is looked for.
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

/// Credentials of a provider of aws-config: kept until they expire, renewed in the background before that.
pub struct Provided(Arc<Inner>);

struct Inner {
    provider: SharedCredentialsProvider,
    /// The profile that the user named, for messages.
    profile: Option<String>,
    clock: Clock,
    kept: Mutex<Option<Kept>>,
    /// Held by whoever asks the provider, so that it is asked once.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Kept {
    credentials: Credentials,
    /// `None`: they do not expire.
    until: Option<Millis>,
}

impl fmt::Debug for Provided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provided")
    }
}

impl Provided {
    /// Takes them from `provider`, when they are first needed. `profile` is the one that the user named, if any: an error
    /// names it.
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

    /// What is kept, if it is good for longer than `margin`.
    fn good_for(&self, margin: Duration) -> Option<Credentials> {
        let kept = self.kept()?;
        let good = kept
            .until
            .is_none_or(|until| self.clock.wall().plus(margin) < until);
        good.then_some(kept.credentials)
    }

    async fn ask(&self) -> Result<Credentials, CredentialsError> {
        let got = self
            .provider
            .provide_credentials()
            .await
            .map_err(|e| match e {
                ProviderError::CredentialsNotLoaded(_) => match &self.profile {
                    Some(profile) => CredentialsError::Profile {
                        profile: profile.clone(),
                    },
                    None => CredentialsError::None,
                },
                other => CredentialsError::Failed(Arc::new(other)),
            })?;
        let credentials = Credentials {
            access_key_id: got.access_key_id().to_owned(),
            secret_access_key: got.secret_access_key().to_owned(),
            session_token: got.session_token().map(str::to_owned),
        };
        let until = got.expiry().map(|at| {
            let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            Millis(0).plus(since)
        });
        let kept = Kept {
            credentials: credentials.clone(),
            until,
        };
        *lock(&self.kept) = Some(kept);
        Ok(credentials)
    }
}

#[async_trait]
impl CredentialsSource for Provided {
    async fn get(&self) -> Result<Credentials, CredentialsError> {
        let inner = &self.0;
        if let Some(credentials) = inner.good_for(RENEW_AHEAD) {
            return Ok(credentials);
        }
        if let Some(credentials) = inner.good_for(MARGIN) {
            let inner = Arc::clone(inner);
            // Nobody waits for it; if it fails, the next request tries again.
            tokio::spawn(async move {
                if let Ok(_asking) = inner.asking.try_lock()
                    && inner.good_for(RENEW_AHEAD).is_none()
                    && let Err(error) = inner.ask().await
                {
                    tracing::warn!(error = %error, "the AWS credentials could not be renewed ahead of time");
                }
            });
            return Ok(credentials);
        }
        let _asking = inner.asking.lock().await;
        // Somebody else may have asked meanwhile.
        match inner.good_for(MARGIN) {
            Some(credentials) => Ok(credentials),
            None => inner.ask().await,
        }
    }

    async fn renew(&self, stale: &Credentials) -> Result<Credentials, CredentialsError> {
        let inner = &self.0;
        let _asking = inner.asking.lock().await;
        match inner.good_for(MARGIN) {
            Some(credentials) if credentials != *stale => Ok(credentials),
            Some(_) | None => inner.ask().await,
        }
    }
}
