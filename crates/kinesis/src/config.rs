//! From what the user said, and the environment and AWS profiles say, to a [`Client`].

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::service_config::ServiceConfigKey;
use distributary_core::clock::Clock;
use distributary_wire::transport::Transport;

use crate::client::{BadEndpoint, Client};
use crate::credentials::{CredentialsSource, Provided, Static};
use crate::endpoint;
use crate::names::StreamRef;
use crate::share::Shares;
use crate::transport::{HttpTransport, SdkHttpClient, TlsError, TransportSettings};

/// The region where nothing says one and the endpoint is a local server.
const LOCAL_REGION: &str = "us-east-1";
/// What sessions of assumed roles are called, in CloudTrail too.
const SESSION: &str = "distributary";

/// How to reach one stream's server. What is `None` comes from the environment and AWS profiles.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectOptions {
    /// The region; that of a stream's ARN goes before it.
    pub region: Option<String>,
    /// The AWS profile.
    pub profile: Option<String>,
    /// The server, such as `http://127.0.0.1:4567`.
    pub endpoint_url: Option<String>,
    /// A role to assume.
    pub role_arn: Option<String>,
    /// The external id that the role's owner asks for.
    pub external_id: Option<String>,
    /// True: no credentials, profiles or AWS variables are looked for (a local server).
    pub no_credentials: bool,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing says the region.
    #[error(
        "no region: give one (--region, or the stream by ARN), or set AWS_REGION or a region in the AWS profile"
    )]
    NoRegion,
    /// What is said to be the endpoint is none.
    #[error(transparent)]
    Endpoint(#[from] BadEndpoint),
}

/// Makes clients; one for all that is the same, over one transport.
pub struct Connector {
    clock: Clock,
    transport: Arc<dyn Transport>,
    shares: Arc<Shares>,
    clients: tokio::sync::Mutex<BTreeMap<ConnectOptions, Client>>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// Over HTTP; certificates and proxies as the environment says.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(clock: Clock) -> Result<Self, TlsError> {
        let transport = HttpTransport::new(clock.clone(), TransportSettings::default())?;
        Ok(Self::over(clock, Arc::new(transport)))
    }

    /// Over `transport`: the embedded Kinesis, a simulation.
    pub fn over(clock: Clock, transport: Arc<dyn Transport>) -> Self {
        let shares = Shares::new(TransportSettings::default().writes);
        Self {
            clock,
            transport,
            shares,
            clients: tokio::sync::Mutex::default(),
        }
    }

    /// The client for `stream`. Reads AWS's configuration; asks the machine's metadata service for the region if nothing
    /// else says one. Credentials are looked for with the first call.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &self,
        stream: &StreamRef,
        options: &ConnectOptions,
    ) -> Result<Client, ConnectError> {
        let region = stream
            .region()
            .map(str::to_owned)
            .or_else(|| options.region.clone());
        let key = ConnectOptions {
            region,
            ..options.clone()
        };
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = if key.no_credentials {
            self.local(&key)?
        } else {
            self.aws(&key).await?
        };
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn local(&self, options: &ConnectOptions) -> Result<Client, BadEndpoint> {
        let region = options
            .region
            .clone()
            .unwrap_or_else(|| LOCAL_REGION.to_owned());
        self.build(
            region,
            options.endpoint_url.clone(),
            Arc::new(Static::local()),
        )
    }

    fn build(
        &self,
        region: String,
        endpoint: Option<String>,
        credentials: Arc<dyn CredentialsSource>,
    ) -> Result<Client, BadEndpoint> {
        let builder = Client::builder(Arc::clone(&self.transport)).shares(Arc::clone(&self.shares));
        let builder = builder
            .region(region)
            .clock(self.clock.clone())
            .credentials(credentials);
        match endpoint {
            Some(endpoint) => builder.endpoint(endpoint).build(),
            None => builder.build(),
        }
    }

    async fn aws(&self, options: &ConnectOptions) -> Result<Client, ConnectError> {
        let sdk = self.load(options).await;
        let region = sdk
            .region()
            .map(ToString::to_string)
            .ok_or(ConnectError::NoRegion)?;
        let endpoint = options
            .endpoint_url
            .clone()
            .or_else(|| configured_endpoint(&sdk))
            .unwrap_or_else(|| {
                let (fips, dual) = (
                    sdk.use_fips().unwrap_or(false),
                    sdk.use_dual_stack().unwrap_or(false),
                );
                endpoint::of_region(&region, fips, dual)
            });
        let provider = self.base_credentials(options, &sdk);
        let provider = match (&options.role_arn, provider) {
            (Some(role), Some(base)) => {
                let mut role = AssumeRoleProvider::builder(role)
                    .session_name(SESSION)
                    .configure(&sdk);
                if let Some(id) = &options.external_id {
                    role = role.external_id(id);
                }
                let role = role.build_from_provider(base).await;
                Some(SharedCredentialsProvider::new(role))
            }
            (_, provider) => provider,
        };
        let credentials: Arc<dyn CredentialsSource> = match provider {
            Some(provider) => Arc::new(Provided::new(
                provider,
                options.profile.clone(),
                self.clock.clone(),
            )),
            None => Arc::new(Static::local()),
        };
        Ok(self.build(region, Some(endpoint), credentials)?)
    }

    /// The chain's credentials; those of a profile that was named go before keys in the environment, as with AWS's CLI.
    fn base_credentials(
        &self,
        options: &ConnectOptions,
        sdk: &SdkConfig,
    ) -> Option<SharedCredentialsProvider> {
        let Some(profile) = &options.profile else {
            return sdk.credentials_provider();
        };
        let config = ProviderConfig::without_region()
            .with_http_client(SdkHttpClient::new(Arc::clone(&self.transport)))
            .with_region(sdk.region().cloned())
            .with_use_fips(sdk.use_fips())
            .with_use_dual_stack(sdk.use_dual_stack());
        let provider = ProfileFileCredentialsProvider::builder()
            .configure(&config)
            .profile_name(profile);
        Some(SharedCredentialsProvider::new(provider.build()))
    }

    async fn load(&self, options: &ConnectOptions) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(SdkHttpClient::new(Arc::clone(&self.transport)));
        if let Some(profile) = &options.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &options.region {
            loader = loader.region(Region::new(region.clone()));
        } else if options.endpoint_url.is_some() || env_names_endpoint() {
            // A local server: a region is only signed with, and no metadata service is waited for.
            let mut profile = ProfileFileRegionProvider::builder();
            if let Some(name) = &options.profile {
                profile = profile.profile_name(name);
            }
            let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                .or_else(profile.build())
                .or_else(Region::new(LOCAL_REGION));
            loader = loader.region(chain);
        }
        loader.load().await
    }
}

fn env_names_endpoint() -> bool {
    ["AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// `AWS_ENDPOINT_URL_KINESIS`, `AWS_ENDPOINT_URL`, or the same of the profile.
fn configured_endpoint(sdk: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id("kinesis")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    let of_service = sdk
        .service_config()
        .and_then(|config| config.load_config(key));
    of_service
        .or_else(|| sdk.endpoint_url().map(str::to_owned))
        .filter(|url| !url.is_empty())
}
