//! From a configuration to the parts of an engine. Every source and output is asked before anything
//! is read or written.

use std::collections::{BTreeMap, BTreeSet};

use distributary_adapters::kind::{BuildContext, BuildError};
use distributary_adapters::sources::BuiltSource;
use distributary_config::build::{Found, find};
use distributary_config::dead_letter_outputs::DeadLetterOutputs;
use distributary_config::discovery::{self, FoundOutput};
use distributary_config::{FanOutConfig, OutputConfig};
use distributary_core::engine::{FanOut, OutputSpec};
use distributary_core::output::{Trouble, TroubleKind};
use distributary_core::store::CheckpointStore;
use distributary_core::text::chain;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::SharedParts;
use super::failing::{Failing, may_pass};
use super::pumps::Pumps;
use super::replay::bounded;
use super::routes::Route;
use super::state;
use super::waiting::Waiting;
use crate::failure::Failure;
use crate::sql::compile;
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
    /// Outputs that can't be used yet.
    pub(super) failing: Failing,
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
    let clock = context.clock.clone();
    let source = source(config, &context).await?;
    context.like = source.stream;
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

    let (mut outputs, failing) = builder.first_outputs(config).await?;
    let opened = state::open(config, &builder.context).await?;
    let mut found = builder.first_search(config, &*opened.store).await?;
    let specs = builder.build_found(&mut found).await?;
    outputs.extend(specs);

    let source = bounded(source.source, shared.stretch, &clock);
    let source = builder.pumps.watched(source);
    let fan_out = FanOut {
        name: config.name.clone(),
        source,
        outputs,
        store: opened.store,
        ownership: opened.ownership,
        budget: Some(shared.memory),
        clock,
        settings,
    };
    Ok(Built {
        failing,
        fan_out,
        outputs: builder,
        found,
        state: opened.folder,
    })
}

/// Connects to the source, and waits for a source that does not answer yet.
async fn source(config: &FanOutConfig, context: &BuildContext) -> Result<BuiltSource, Failure> {
    let timeout = config.engine.start_timeout;
    let waiting = Waiting::new(&context.clock, timeout);
    let source = waiting.ask(|| config.source.build(context));
    source.await.map_err(|error| failure(&error))
}

fn failure(error: &BuildError) -> Failure {
    match error {
        BuildError::Settings(_) | BuildError::LeftOut(_) => Failure::usage(chain(error)),
        BuildError::Failed { .. } | BuildError::System { .. } => Failure::from_error(error),
    }
}

/// The reason why a fan-out can't start with these answers about its outputs.
fn fatal<'a>(config: &FanOutConfig, answers: &'a Answers) -> Option<&'a BuildError> {
    let mut failed = answers.iter().filter_map(|(i, answer)| {
        let error = answer.as_ref().err()?;
        Some((&config.outputs[*i], error))
    });
    let none_is_left = config.patterns.is_empty() && all_fail_for_good(answers);
    let is_fatal = |(output, _): &(&OutputConfig, &BuildError)| {
        none_is_left || config.strict_start || keeps_state(output)
    };
    failed.find(is_fatal).map(|(_, error)| error)
}

/// True if no output can be used, now or later by itself.
fn all_fail_for_good(answers: &Answers) -> bool {
    let mut answers = answers.values();
    answers.all(|answer| match answer {
        Ok(_) => false,
        Err(error) => !may_pass(error),
    })
}

/// True if the output takes the rows of a pump that keeps state: such a pump has all of its outputs
/// from the start.
fn keeps_state(output: &OutputConfig) -> bool {
    let rows = output.rows.as_ref();
    rows.is_some_and(|rows| compile(&rows.pump).is_ok_and(|program| !program.is_stateless()))
}

/// Outputs that can be used, and their settings in the same order.
#[derive(Default)]
struct Usable {
    configs: Vec<OutputConfig>,
    found: Vec<Found>,
}

impl Usable {
    fn add(&mut self, config: &OutputConfig, found: Found) {
        self.configs.push(config.clone());
        self.found.push(found);
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
        let configs = configs.to_vec();
        self.checked(Usable { configs, found })
    }

    /// The configured outputs at the start, with stand-ins for those that can't be used yet. Fails
    /// if none can be used, now or later, or if the configuration wants all of them.
    async fn first_outputs(
        &self,
        config: &FanOutConfig,
    ) -> Result<(Vec<OutputSpec>, Failing), Failure> {
        let configs = &config.outputs;
        let answers = self.ask_all(configs).await?;
        if let Some(error) = fatal(config, &answers) {
            return Err(failure(error));
        }

        let mut failing = Failing::default();
        let mut stand_ins = Vec::new();
        let mut usable = Usable::default();
        for (i, answer) in answers {
            let config = &configs[i];
            match answer {
                Ok(found) => usable.add(config, found),
                Err(error) => stand_ins.push(failing.add(config, &error)),
            }
        }

        let mut specs = self.checked(usable)?;
        specs.extend(stand_ins);
        Ok((specs, failing))
    }

    /// The outputs, each a place of its own, with the pumps that they take rows of.
    fn checked(&self, outputs: Usable) -> Result<Vec<OutputSpec>, Failure> {
        let Usable { configs, found } = outputs;
        self.tell_apart(&found)?;
        self.check_dead_letters(&found)?;
        for output in &found {
            let entered = self.enter(output);
            entered.map_err(Failure::usage)?;
        }

        let specs = found.into_iter().map(|found| found.spec);
        self.pumps.attach(&configs, specs.collect())
    }

    /// The outputs of `failing` that can be used now, ready for the engine.
    pub(super) async fn usable_again(&self, failing: &mut Failing) -> Vec<OutputSpec> {
        let usable = failing.look(&self.context, &self.dead_letters).await;
        let mut specs = Vec::new();
        for (name, found) in usable {
            let Some(config) = failing.config(&name) else {
                continue;
            };
            let mut usable = Usable::default();
            usable.add(&config, found);
            let attached = self.checked(usable);
            match attached {
                Ok(attached) => specs.extend(attached),
                Err(why) => {
                    let reason = Trouble::new(TroubleKind::Invalid, why.message());
                    failing.note(&name, reason);
                }
            }
        }
        specs
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
