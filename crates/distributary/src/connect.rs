//! From flags to clients: one place, for every command.

use std::sync::Arc;

use distributary_adapters::kind::{BuildContext, Ending, Surroundings};
#[cfg(feature = "dynamodb")]
use distributary_adapters::leases::dynamodb::DynamoTable;
use distributary_config::{Input, Process, Registry};
use distributary_core::clock::Clock;
use distributary_core::text::chain;
use distributary_kinesis::client::Client;
use distributary_kinesis::config::{ConnectError, ConnectOptions, Connector};
use distributary_kinesis::names::StreamRef;
use distributary_kinesis::transport::TransportSettings;
use distributary_local::Local;

use crate::control::Stretch;
use crate::failure::Failure;

/// Where the streams are.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectArgs {
    /// AWS region of streams that are given by name [default: as the AWS tools find it]
    #[arg(
        long,
        env = "DISTRIBUTARY_REGION",
        hide_env = true,
        value_name = "REGION"
    )]
    pub(crate) region: Option<String>,
    /// AWS profile
    #[arg(
        long,
        env = "DISTRIBUTARY_PROFILE",
        hide_env = true,
        value_name = "PROFILE"
    )]
    pub(crate) profile: Option<String>,
    /// Kinesis endpoint, such as http://127.0.0.1:4567 [default: AWS, or AWS_ENDPOINT_URL]
    #[arg(
        long,
        env = "DISTRIBUTARY_ENDPOINT_URL",
        hide_env = true,
        value_name = "URL"
    )]
    pub(crate) endpoint_url: Option<String>,
}

impl ConnectArgs {
    /// Adds the flags to the values that a configuration is resolved with.
    pub(crate) fn add_to(&self, input: &mut Input, registry: &Registry) {
        let flags = [
            ("region", &self.region),
            ("profile", &self.profile),
            ("endpoint-url", &self.endpoint_url),
        ];
        for (name, value) in flags {
            if let Some(value) = value {
                input.flag(registry, name, value);
            }
        }
    }
}

/// The way to streams: makes clients.
pub(crate) struct Access {
    /// Time for everything in this command.
    pub(crate) clock: Clock,
    /// The embedded Kinesis, if that is where the streams are.
    pub(crate) local: Option<Local>,
    /// The stretch of the source that is read; `None`: all, for ever.
    pub(crate) stretch: Option<Stretch>,
    connector: Arc<Connector>,
    options: ConnectOptions,
}

impl Access {
    /// The way that `args` say.
    pub(crate) fn new(args: &ConnectArgs) -> Result<Self, Failure> {
        let options = ConnectOptions {
            region: args.region.clone(),
            profile: args.profile.clone(),
            endpoint_url: args.endpoint_url.clone(),
            ..ConnectOptions::default()
        };
        Self::over(None, options)
    }

    /// The way into `local`, or to AWS and what looks like it.
    pub(crate) fn over(local: Option<Local>, options: ConnectOptions) -> Result<Self, Failure> {
        Self::with_settings(local, options, TransportSettings::default())
    }

    fn with_settings(
        local: Option<Local>,
        options: ConnectOptions,
        settings: TransportSettings,
    ) -> Result<Self, Failure> {
        let clock = Clock::real();
        let connector = match &local {
            Some(local) => Connector::over(clock.clone(), Arc::new(local.transport())),
            None => Connector::with_settings(clock.clone(), settings)
                .map_err(|e| Failure::usage(chain(&e)))?,
        };
        let options = ConnectOptions {
            no_credentials: local.is_some(),
            ..options
        };
        Ok(Self {
            stretch: None,
            clock,
            local,
            connector: Arc::new(connector),
            options,
        })
    }

    /// The access of `run`, whose sources and outputs have connection options of their own.
    pub(crate) fn for_process(process: &Process) -> Result<Self, Failure> {
        let is_embedded = process.surroundings.embedded;
        let local = is_embedded.then(|| Local::builder().build());
        let settings = TransportSettings::within(process.memory);
        Self::with_settings(local, ConnectOptions::default(), settings)
    }

    /// The context in which a fan-out's source and outputs are built.
    pub(crate) fn build_context(&self, ending: Ending) -> BuildContext {
        BuildContext {
            clock: self.clock.clone(),
            connector: Arc::clone(&self.connector),
            surroundings: Surroundings {
                embedded: self.local.is_some(),
            },
            like: None,
            ending,
        }
    }

    /// The DynamoDB table `name` in the region of the command.
    #[cfg(feature = "dynamodb")]
    pub(crate) async fn lease_table(&self, name: &str) -> DynamoTable {
        let options = ConnectOptions {
            endpoint_url: None,
            ..self.options.clone()
        };
        let sdk = self.connector.sdk(&options).await;
        DynamoTable::new(&sdk, name)
    }

    /// The DynamoDB table `name` in `region`.
    #[cfg(feature = "dynamodb")]
    pub(crate) async fn lease_table_in(&self, name: &str, region: Option<String>) -> DynamoTable {
        let options = ConnectOptions {
            region,
            ..ConnectOptions::default()
        };
        let sdk = self.connector.sdk(&options).await;
        DynamoTable::new(&sdk, name)
    }

    /// A client for `stream` with the command's own options.
    pub(crate) async fn client(&self, stream: &StreamRef) -> Result<Client, Failure> {
        self.client_with(stream, &self.options).await
    }

    /// A client of the account and region, for no stream in particular.
    pub(crate) async fn any_client(&self) -> Result<Client, Failure> {
        self.client(&stream_ref("any")?).await
    }

    /// A client for `stream` with other options.
    pub(crate) async fn client_with(
        &self,
        stream: &StreamRef,
        options: &ConnectOptions,
    ) -> Result<Client, Failure> {
        self.connector
            .connect(stream, options)
            .await
            .map_err(|e: ConnectError| Failure::usage(chain(&e)))
    }
}

/// Reads a stream's name or ARN from a flag.
pub(crate) fn stream_ref(text: &str) -> Result<StreamRef, Failure> {
    text.parse().map_err(|e| Failure::usage(chain(&e)))
}

/// The region of an ARN.
#[cfg(feature = "dynamodb")]
pub(crate) fn region(arn: &str) -> Option<String> {
    let arn = arn.strip_prefix("arn:")?;
    let region = arn.split(':').nth(2)?;
    if region.is_empty() {
        return None;
    }
    Some(region.to_owned())
}
