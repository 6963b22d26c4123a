//! The credentials that sign requests: static, or from the AWS chain, cached and renewed before and
//! after they expire.

use std::fmt::{self, Write as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::provider::error::CredentialsError as ProviderError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_types::error::ErrorMetadata;
use distributary_core::clock::{Clock, Instant, Millis};
use distributary_core::secrets;
use distributary_core::sync::lock;
use distributary_wire::sigv4::Credentials;

/// Temporary credentials are renewed in the background when their remaining lifetime is shorter.
const RENEW_AHEAD: Duration = Duration::from_secs(5 * 60);
/// Credentials with a shorter remaining lifetime are not used any more: a request may take a while
/// to arrive.
const LIFETIME_MIN: Duration = Duration::from_secs(20);
/// Time between two questions after one that brought nothing new: the same credentials, or none.
const PAUSE: Duration = Duration::from_secs(10);

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
    #[error("{text}")]
    Failed {
        /// The profile and the role, every cause, and the remedy.
        text: String,
        /// The provider's error.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The provider did not answer within the call's deadline.
    #[error(
        "the AWS credentials were not fetched within {0:?}; check the network, and the metadata \
         service or the command that gives them"
    )]
    Slow(Duration),
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

/// The makers of credentials of a connection, as messages name them.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// The profile that the user named.
    pub profile: Option<String>,
    /// The role to assume.
    pub role_arn: Option<String>,
}

/// Makes a provider of aws-config, which reads files and tokens anew; `None` if the chain has none.
pub type MakeProvider = Box<
    dyn Fn() -> Pin<Box<dyn Future<Output = Option<SharedCredentialsProvider>> + Send>>
        + Send
        + Sync,
>;

/// Credentials of a provider of aws-config: kept until they expire, and renewed in the background
/// before that.
///
/// Each question makes the provider anew, since providers keep profiles and tokens that they have
/// read: a file that was rewritten, or an `aws sso login`, counts with the next question.
pub struct Provided(Arc<Inner>);

struct Inner {
    make: MakeProvider,
    origins: Origins,
    clock: Clock,
    kept: Mutex<Option<Kept>>,
    /// The last question, if the answer was nothing new.
    vain: Mutex<Option<Vain>>,
    /// Held while the provider is asked, so that concurrent calls ask once.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Kept {
    credentials: Credentials,
    /// The time of expiry; `None` for credentials that do not expire.
    until: Option<Millis>,
}

/// A question that brought nothing new.
#[derive(Clone)]
struct Vain {
    at: Instant,
    result: Result<Credentials, CredentialsError>,
}

impl fmt::Debug for Provided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provided")
    }
}

impl Provided {
    /// Credentials of the providers that `make` makes, fetched when first needed. Errors name
    /// `origins`.
    pub fn new(make: MakeProvider, origins: Origins, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            make,
            origins,
            clock,
            kept: Mutex::new(None),
            vain: Mutex::new(None),
            asking: tokio::sync::Mutex::new(()),
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
        let now = self.clock.wall();
        let end = now.plus(lifetime);
        let valid = kept.until.is_none_or(|until| end < until);
        valid.then_some(kept.credentials)
    }

    /// The result of the last question, if the question was in vain and a moment ago.
    fn just_in_vain(&self) -> Option<Result<Credentials, CredentialsError>> {
        let vain = lock(&self.vain).clone()?;
        let now = self.clock.now();
        let is_recent = now.since(vain.at) < PAUSE;
        is_recent.then_some(vain.result)
    }

    /// Asks the provider, unless the last question was in vain and a moment ago.
    async fn ask(&self) -> Result<Credentials, CredentialsError> {
        if let Some(result) = self.just_in_vain() {
            return result;
        }

        let before = self.kept();
        let before = before.map(|kept| kept.credentials);
        let result = self.ask_now().await;
        let is_vain = result
            .as_ref()
            .map_or(true, |new| Some(new) == before.as_ref());
        *lock(&self.vain) = is_vain.then(|| Vain {
            at: self.clock.now(),
            result: result.clone(),
        });
        result
    }

    async fn ask_now(&self) -> Result<Credentials, CredentialsError> {
        let provider = (self.make)().await.ok_or(CredentialsError::None)?;
        let provided = provider.provide_credentials().await;
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
        match (error, &self.origins.profile) {
            (ProviderError::CredentialsNotLoaded(_), Some(profile)) => CredentialsError::Profile {
                profile: profile.clone(),
            },
            (ProviderError::CredentialsNotLoaded(_), None) => CredentialsError::None,
            (other, _) => CredentialsError::Failed {
                text: self.origins.failure(&causes(&other)),
                source: Arc::new(other),
            },
        }
    }

    /// Asks the provider ahead of time, unless another call does. The next request tries again
    /// after a failure.
    async fn renew_ahead(&self) {
        if let Ok(_asking) = self.asking.try_lock()
            && self.just_in_vain().is_none()
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

impl Origins {
    /// The sentence for a provider that failed for `causes`.
    fn failure(&self, causes: &str) -> String {
        let mut text = "the AWS credentials".to_owned();
        let named = [
            ("of the profile", &self.profile),
            ("of the role", &self.role_arn),
        ];
        for (part, name) in named {
            if let Some(name) = name {
                // Writing to a String cannot fail.
                let _ = write!(text, " {part} {name}");
            }
        }
        let _ = write!(text, " could not be fetched: {causes}");
        text.push_str(&self.remedy(causes));
        text
    }

    /// The remedy for a failure with these `causes`, as the end of a sentence.
    fn remedy(&self, causes: &str) -> String {
        let of_token = ["SSO", "sso", "session token"];
        let is_of_token = of_token.iter().any(|word| causes.contains(word));
        if is_of_token {
            let flag = match &self.profile {
                Some(name) => format!(" --profile {name}"),
                None => String::new(),
            };
            return format!("; sign in with `aws sso login{flag}`");
        }

        let text = match &self.role_arn {
            Some(_) => {
                "; check the role, that its trust policy allows the caller, and the external id"
            }
            None => "",
        };
        text.to_owned()
    }
}

/// The text of `error` alone.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<ErrorMetadata>() {
        Some(service) => {
            let parts = [service.code(), service.message()];
            let known: Vec<&str> = parts.into_iter().flatten().collect();
            known.join(": ")
        }
        None => error.to_string(),
    }
}

/// The texts of `error` and of its causes. The SDK's texts of a service's error are those of a Rust
/// type; here code and message of the service.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = cause(error);
        if !text.is_empty() && !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(role_arn: Option<&str>) -> Origins {
        Origins {
            profile: Some("dev".to_owned()),
            role_arn: role_arn.map(str::to_owned),
        }
    }

    #[test]
    fn a_failure_names_every_cause_and_the_remedy() {
        let builder = ErrorMetadata::builder().code("AccessDenied");
        let of_service = builder.message("not authorized to assume").build();
        let error = ProviderError::provider_error(of_service);
        let role = "arn:aws:iam::123456789012:role/writer";
        let text = origins(Some(role)).failure(&causes(&error));
        let expected = "the AWS credentials of the profile dev of the role \
                        arn:aws:iam::123456789012:role/writer could not be fetched: an error \
                        occurred while loading credentials: AccessDenied: not authorized to \
                        assume; check the role, that its trust policy allows the caller, and the \
                        external id";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_session_that_has_ended_is_signed_in_to() {
        let error = ProviderError::provider_error("the SSO session has expired");
        let text = origins(None).failure(&causes(&error));
        assert!(
            text.ends_with("; sign in with `aws sso login --profile dev`"),
            "{text}"
        );
    }
}
