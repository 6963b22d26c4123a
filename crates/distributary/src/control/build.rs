//! From a configuration to the parts of an engine. Every source and output is asked before anything
//! is read or written.

use std::collections::{BTreeMap, BTreeSet};

use distributary_adapters::kind::{BuildContext, BuildError};
use distributary_config::build::{Found, find};
use distributary_config::dead_letter_outputs::DeadLetterOutputs;
use distributary_config::discovery::{self, FoundOutput};
use distributary_config::{FanOutConfig, OutputConfig};
use distributary_core::engine::{FanOut, OutputSpec};
use distributary_core::store::CheckpointStore;
use distributary_core::text::chain;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::SharedParts;
use super::pumps::Pumps;
use super::routes::Route;
use super::state;
use crate::failure::Failure;
use crate::view::ErrorRows;

/// Outputs that are asked at the same time.
const ASKED_AT_ONCE: usize = 16;

/// The parts of an engine, and what has to outlive it.
pub(crate) struct Built {
    /// For [`Engine::start`](distributary_core::engine::Engine::start).
    pub(crate) fan_out: FanOut,
    /// For outputs that are added later.
    pub(crate) outputs: OutputBuilder,
    /// Outputs that were found by name.
    pub(crate) found: BTreeMap<String, FoundOutput>,
    /// The folder of the progress, if that is not kept after the end.
    pub(crate) state: Option<TempDir>,
}

/// Builds outputs, and recognises those that are one place.
pub(crate) struct OutputBuilder {
    context: BuildContext,
    dead_letters: DeadLetterOutputs,
    pumps: Pumps,
    route: Route,
    /// The source's identity.
    source: String,
}

/// Connects to the source, the outputs and the state of `config`.
pub(crate) async fn build(
    config: &FanOutConfig,
    mut context: BuildContext,
    shared: SharedParts,
) -> Result<Built, Failure> {
    let source = config.source.build(&context).await;
    let source = source.map_err(|e| failure(&e))?;
    context.like = source.stream;
    let clock = context.clock.clone();
    let settings = config.engine.clone();
    let pumps = Pumps::new(clock.clone(), settings.clone());
    let route = shared.routes.enter(&config.name, &source.identity);
    let builder = OutputBuilder {
        context,
        dead_letters: shared.dead_letters,
        pumps,
        route,
        source: source.identity,
    };

    let mut outputs = builder.outputs(&config.outputs).await?;
    let opened = state::open(config, &builder.context).await?;
    let mut found = builder.first_search(config, &*opened.store).await?;
    let specs = builder.build_found(&mut found).await?;
    outputs.extend(specs);

    let name = config.name.clone();
    let source = builder.pumps.watched(source.source);
    let fan_out = FanOut {
        name,
        source,
        outputs,
        store: opened.store,
        ownership: opened.ownership,
        budget: Some(shared.memory),
        clock,
        settings,
    };
    Ok(Built {
        fan_out,
        outputs: builder,
        found,
        state: opened.folder,
    })
}

fn failure(error: &BuildError) -> Failure {
    match error {
        BuildError::Settings(_) => Failure::usage(chain(error)),
        BuildError::Failed { .. } | BuildError::System { .. } => Failure::from_error(error),
    }
}

type Answers = BTreeMap<usize, Result<Found, BuildError>>;

impl OutputBuilder {
    /// The context in which the outputs are built.
    pub(crate) fn context(&self) -> &BuildContext {
        &self.context
    }

    /// The outputs that are found by name at the start. An output without progress beside others
    /// that have some is a new one.
    async fn first_search(
        &self,
        config: &FanOutConfig,
        store: &dyn CheckpointStore,
    ) -> Result<BTreeMap<String, FoundOutput>, Failure> {
        if !config.searches() {
            return Ok(BTreeMap::new());
        }
        discovery::note_source(config, &self.context);
        let none = BTreeSet::new();
        let found = discovery::search(config, &self.context, &none).await;
        let mut found = found.map_err(|error| failure(&error))?;

        let state = store.load().await;
        let state = state.map_err(|error| Failure::from_error(&error))?;
        discovery::start_later(&mut found, &state);
        Ok(found)
    }

    /// The outputs that were found; those that cannot be built are taken out of `found`.
    async fn build_found(
        &self,
        found: &mut BTreeMap<String, FoundOutput>,
    ) -> Result<Vec<OutputSpec>, Failure> {
        let configs = found.values().map(|output| output.config.clone());
        let configs: Vec<OutputConfig> = configs.collect();
        let specs = self.found(&configs).await?;

        let is_built = |name: &str| {
            let mut built = specs.iter();
            built.any(|spec| spec.id.as_str() == name)
        };
        found.retain(|name, _| is_built(name));
        Ok(specs)
    }

    /// The outputs of `configs` that can be built; the others are logged, and found again later.
    pub(crate) async fn found(&self, configs: &[OutputConfig]) -> Result<Vec<OutputSpec>, Failure> {
        let mut specs = Vec::new();
        for (i, found) in self.ask_all(configs).await? {
            match found {
                Ok(found) => specs.extend(self.if_new(found)),
                Err(error) => {
                    let name = &configs[i].name;
                    let why = chain(&error);
                    tracing::warn!("the output {name} was found, and cannot be used: {why}");
                }
            }
        }
        Ok(specs)
    }

    /// An output that was found, unless its records would come back to the source.
    fn if_new(&self, found: Found) -> Option<OutputSpec> {
        if found.identity == self.source {
            return None;
        }

        match self.enter(&found) {
            Ok(()) => Some(found.spec),
            Err(why) => {
                tracing::warn!("an output that was found is left out: {why}");
                None
            }
        }
    }

    /// The outputs of `configs`, in their order.
    pub(crate) async fn outputs(
        &self,
        configs: &[OutputConfig],
    ) -> Result<Vec<OutputSpec>, Failure> {
        let found = self.find_all(configs).await?;
        self.tell_apart(&found)?;
        self.check_dead_letters(&found)?;
        for output in &found {
            let entered = self.enter(output);
            entered.map_err(Failure::usage)?;
        }

        let specs = found.into_iter().map(|found| found.spec);
        self.pumps.attach(configs, specs.collect())
    }

    /// Enters an output, and the place of its dead letters, into the routes of the process.
    fn enter(&self, output: &Found) -> Result<(), String> {
        let name = output.spec.id.as_str();
        if let Some(place) = &output.dead_letters {
            let name = format!("{name} (dead letters)");
            self.route.add(&name, place)?;
        }
        self.route.add(name, &output.identity)
    }

    /// Takes an output that was removed out of the routes of the process.
    pub(crate) fn leave(&self, name: &str) {
        let dead_letters = format!("{name} (dead letters)");
        self.route.remove(&dead_letters);
        self.route.remove(name);
    }

    /// The rows that the pumps sent to `error_stream` so far.
    pub(crate) fn error_rows(&self) -> Vec<ErrorRows> {
        self.pumps.error_rows()
    }

    /// Fails if the output called `name` can't be changed while the fan-out runs.
    pub(crate) fn check_change(&self, name: &str) -> Result<(), String> {
        self.pumps.check_change(name)
    }

    /// Builds and asks all outputs, some at the same time; in the order of `configs`.
    async fn find_all(&self, configs: &[OutputConfig]) -> Result<Vec<Found>, Failure> {
        let answers = self.ask_all(configs).await?.into_values();
        let all: Result<Vec<Found>, BuildError> = answers.collect();
        all.map_err(|error| failure(&error))
    }

    /// The answer about each output, by its place in `configs`.
    async fn ask_all(&self, configs: &[OutputConfig]) -> Result<Answers, Failure> {
        let mut found = Answers::new();
        let mut asked = JoinSet::new();
        let mut rest = configs.iter().cloned().enumerate();

        loop {
            while asked.len() < ASKED_AT_ONCE
                && let Some((i, config)) = rest.next()
            {
                let context = self.context.clone();
                let dead_letters = self.dead_letters.clone();
                asked.spawn(async move { (i, find(config, &context, &dead_letters).await) });
            }

            let Some(answer) = asked.join_next().await else {
                break;
            };
            let (i, one) = answer.map_err(|error| Failure::from_error(&error))?;
            found.insert(i, one);
        }
        Ok(found)
    }

    /// Fails if the dead letters of an output would go to the source.
    fn check_dead_letters(&self, found: &[Found]) -> Result<(), Failure> {
        let source = &self.source;
        let to_source = |found: &&Found| found.dead_letters.as_ref() == Some(source);
        let Some(output) = found.iter().find(to_source) else {
            return Ok(());
        };

        let id = &output.spec.id;
        Err(Failure::usage(format!(
            "the dead letters of the output {id} would go to the source itself ({source}); name another place"
        )))
    }

    /// Fails if two outputs, or an output and the source, are one place: settings alone do not
    /// always show that.
    fn tell_apart(&self, found: &[Found]) -> Result<(), Failure> {
        for (i, output) in found.iter().enumerate() {
            let id = &output.spec.id;
            let identity = &output.identity;
            if *identity == self.source {
                return Err(Failure::usage(format!(
                    "the output {id} is the source itself ({identity}), and would be copied round and round; name another \
                     stream"
                )));
            }
            if let Some(twice) = found[..i].iter().find(|f| f.identity == *identity) {
                return Err(Failure::usage(format!(
                    "the outputs {} and {id} are one place ({identity}); every record would be written to it twice",
                    twice.spec.id
                )));
            }
        }
        Ok(())
    }
}
