//! From the user's settings, the environment and the AWS profiles to a [`Client`].

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
use distributary_core::text::chain;
use distributary_wire::transport::Transport;

use crate::client::{BadEndpoint, Client};
use crate::credentials::{CredentialsSource, MakeProvider, Origins, Provided, Static};
use crate::endpoint;
use crate::names::StreamRef;
use crate::transport::{HttpTransport, RequestClass, SdkHttpClient, TlsError, TransportSettings};
use crate::write_slots::WriteSlots;

/// The region of a local server, where no setting names one.
const LOCAL_REGION: &str = "us-east-1";
/// The session name of assumed roles, which CloudTrail shows.
const SESSION_NAME: &str = "distributary";

/// The way to one stream's server. A field that is `None` is taken from the environment and the AWS
/// profiles.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectOptions {
    /// The region; the region of a stream's ARN has priority.
    pub region: Option<String>,
    /// The AWS profile.
    pub profile: Option<String>,
    /// The server, such as `http://127.0.0.1:4567`.
    pub endpoint_url: Option<String>,
    /// A role to assume.
    pub role_arn: Option<String>,
    /// The external id that the owner of the role requires.
    pub external_id: Option<String>,
    /// True: credentials, profiles and AWS variables are not read (a local server).
    pub no_credentials: bool,
}

/// The reason why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No setting names the region.
    #[error(
        "no region: give one (--region, or the stream by ARN), or set AWS_REGION or a region in the AWS \
         profile"
    )]
    NoRegion,
    /// The endpoint is not the URL of a server.
    #[error(transparent)]
    Endpoint(#[from] BadEndpoint),
    /// The certificates of the profile's `ca_bundle` cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Makes clients over one transport; equal options give the same client.
pub struct Connector {
    clock: Clock,
    transport: Arc<dyn Transport>,
    /// Present for a transport over HTTP.
    settings: Option<TransportSettings>,
    write_slots: Arc<WriteSlots>,
    clients: tokio::sync::Mutex<BTreeMap<ConnectOptions, Client>>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// A connector over HTTP, with the certificates and proxies of the environment.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(clock: Clock) -> Result<Self, TlsError> {
        Self::with_settings(clock, TransportSettings::default())
    }

    /// As [`new`](Self::new), with these settings of the transport.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn with_settings(clock: Clock, settings: TransportSettings) -> Result<Self, TlsError> {
        let transport = HttpTransport::new(clock.clone(), settings)?;
        Ok(Self {
            settings: Some(settings),
            ..Self::over(clock, Arc::new(transport))
        })
    }

    /// A connector over `transport`: the embedded Kinesis, a simulation.
    pub fn over(clock: Clock, transport: Arc<dyn Transport>) -> Self {
        Self {
            clock,
            transport,
            settings: None,
            write_slots: WriteSlots::new(TransportSettings::default().writes),
            clients: tokio::sync::Mutex::default(),
        }
    }

    /// The client for `stream`. Reads AWS's configuration, and asks the machine's metadata service
    /// for the region if no setting names one. Credentials are fetched with the first call.
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
            Arc::clone(&self.transport),
            region,
            options.endpoint_url.clone(),
            Arc::new(Static::local()),
        )
    }

    fn build(
        &self,
        transport: Arc<dyn Transport>,
        region: String,
        endpoint: Option<String>,
        credentials: Arc<dyn CredentialsSource>,
    ) -> Result<Client, BadEndpoint> {
        let builder = Client::builder(transport)
            .write_slots(Arc::clone(&self.write_slots))
            .region(region)
            .clock(self.clock.clone())
            .credentials(credentials);
        match endpoint {
            Some(endpoint) => builder.endpoint(endpoint).build(),
            None => builder.build(),
        }
    }

    async fn aws(&self, options: &ConnectOptions) -> Result<Client, ConnectError> {
        let (loader, sdk) = self.loader(options).await;
        let loader = self.trusting(&sdk)?.unwrap_or(loader);
        let region = sdk.region().map(ToString::to_string);
        let region = region.ok_or(ConnectError::NoRegion)?;
        let endpoint = options
            .endpoint_url
            .clone()
            .or_else(|| configured(&sdk, "AWS_ENDPOINT_URL", "endpoint_url"))
            .or_else(|| sdk.endpoint_url().map(str::to_owned))
            .filter(|url| !url.is_empty())
            .unwrap_or_else(|| {
                let fips = sdk.use_fips().unwrap_or(false);
                let dual_stack = sdk.use_dual_stack().unwrap_or(false);
                endpoint::of_region(&region, fips, dual_stack)
            });

        let transport = Arc::clone(&loader.transport);
        // The region is known from here on, and no question asks a metadata service for it.
        let options = ConnectOptions {
            region: Some(region.clone()),
            ..options.clone()
        };
        let credentials = Arc::new(loader.credentials(options, self.clock.clone()));
        Ok(self.build(transport, region, Some(endpoint), credentials)?)
    }

    /// The settings of AWS SDK clients for other services: region, credentials (of the role, where
    /// one is named), and HTTP over this transport. Endpoints of the environment and the profile
    /// count. A `ca_bundle` of the profile that cannot be used is logged, and left out.
    pub async fn sdk(&self, options: &ConnectOptions) -> SdkConfig {
        let (_, sdk) = self.trusted(options).await;
        sdk
    }

    /// As [`Connector::sdk`], for clients that write records: their requests take no connection
    /// from others.
    pub async fn sdk_for_writes(&self, options: &ConnectOptions) -> SdkConfig {
        let (loader, sdk) = self.trusted(options).await;
        let http = SdkHttpClient::new(loader.transport, RequestClass::Write);
        sdk.into_builder().http_client(http).build()
    }

    async fn trusted(&self, options: &ConnectOptions) -> (Loader, SdkConfig) {
        let (mut loader, mut sdk) = self.loader(options).await;
        match self.trusting(&sdk) {
            Ok(None) => {}
            Ok(Some(trusting)) => {
                sdk = trusting.load(options).await;
                loader = trusting;
            }
            Err(error) => tracing::error!("{}", chain(&error)),
        }
        let provider = loader.provider(options, &sdk).await;
        if let Some(provider) = provider {
            sdk = sdk.into_builder().credentials_provider(provider).build();
        }
        (loader, sdk)
    }

    /// The loader over the common transport, and the settings that it loads.
    async fn loader(&self, options: &ConnectOptions) -> (Loader, SdkConfig) {
        let loader = Loader {
            transport: Arc::clone(&self.transport),
        };
        let sdk = loader.load(options).await;
        (loader, sdk)
    }

    /// The loader over a transport that trusts the `ca_bundle` of the profile, if there is one.
    /// `AWS_CA_BUNDLE` has priority, and counts for every connection already.
    fn trusting(&self, sdk: &SdkConfig) -> Result<Option<Loader>, TlsError> {
        let of_env = std::env::var_os("AWS_CA_BUNDLE");
        let is_in_env = of_env.is_some_and(|path| !path.is_empty());
        let bundle = configured(sdk, "AWS_CA_BUNDLE", "ca_bundle");
        let bundle = bundle.filter(|path| !path.is_empty());
        let (Some(settings), Some(bundle), false) = (self.settings, bundle, is_in_env) else {
            return Ok(None);
        };

        let transport = HttpTransport::trusting(self.clock.clone(), settings, bundle.as_ref())?;
        let transport = Arc::new(transport);
        Ok(Some(Loader { transport }))
    }
}

/// Loads AWS's configuration over a transport.
#[derive(Clone)]
struct Loader {
    transport: Arc<dyn Transport>,
}

impl Loader {
    /// The credentials of a connection, kept until they expire. Each question loads the
    /// configuration anew.
    fn credentials(self, options: ConnectOptions, clock: Clock) -> Provided {
        let origins = Origins {
            profile: options.profile.clone(),
            role_arn: options.role_arn.clone(),
        };
        let make: MakeProvider = Box::new(move || {
            let loader = self.clone();
            let options = options.clone();
            Box::pin(async move {
                let sdk = loader.load(&options).await;
                loader.provider(&options, &sdk).await
            })
        });
        Provided::new(make, origins, clock)
    }

    /// The provider of the role to assume, or of the chain; `None` if the chain has none.
    async fn provider(
        &self,
        options: &ConnectOptions,
        sdk: &SdkConfig,
    ) -> Option<SharedCredentialsProvider> {
        let base = self.base_credentials(options, sdk)?;
        Some(match &options.role_arn {
            Some(role) => assumed_role(role, options.external_id.as_deref(), sdk, base).await,
            None => base,
        })
    }

    /// The HTTP client of the SDK, which fetches credentials.
    fn sdk_http(&self) -> SdkHttpClient {
        SdkHttpClient::new(Arc::clone(&self.transport), RequestClass::Control)
    }

    /// The credentials of the chain. The profile that the user names has priority over keys in the
    /// environment, as in AWS's CLI.
    fn base_credentials(
        &self,
        options: &ConnectOptions,
        sdk: &SdkConfig,
    ) -> Option<SharedCredentialsProvider> {
        let Some(profile) = &options.profile else {
            return sdk.credentials_provider();
        };
        let config = ProviderConfig::without_region()
            .with_http_client(self.sdk_http())
            .with_region(sdk.region().cloned())
            .with_use_fips(sdk.use_fips())
            .with_use_dual_stack(sdk.use_dual_stack());
        let provider = ProfileFileCredentialsProvider::builder()
            .configure(&config)
            .profile_name(profile);
        Some(SharedCredentialsProvider::new(provider.build()))
    }

    async fn load(&self, options: &ConnectOptions) -> SdkConfig {
        let mut loader =
            aws_config::defaults(BehaviorVersion::latest()).http_client(self.sdk_http());
        if let Some(profile) = &options.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &options.region {
            loader = loader.region(Region::new(region.clone()));
        } else if options.endpoint_url.is_some() || env_names_endpoint() {
            // A local server: the region is only signed with, and no metadata service is waited
            // for.
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

async fn assumed_role(
    role: &str,
    external_id: Option<&str>,
    sdk: &SdkConfig,
    base: SharedCredentialsProvider,
) -> SharedCredentialsProvider {
    let mut role = AssumeRoleProvider::builder(role)
        .session_name(SESSION_NAME)
        .configure(sdk);
    if let Some(id) = external_id {
        role = role.external_id(id);
    }
    SharedCredentialsProvider::new(role.build_from_provider(base).await)
}

fn env_names_endpoint() -> bool {
    ["AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// A setting for Kinesis: of the environment variable `env`, or of `key` in the profile.
fn configured(sdk: &SdkConfig, env: &'static str, key: &'static str) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id("kinesis")
        .env(env)
        .profile(key)
        .build()
        .ok()?;
    sdk.service_config()
        .and_then(|config| config.load_config(key))
}
