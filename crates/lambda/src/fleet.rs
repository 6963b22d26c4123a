//! The outputs of one fan-out: built when an event needs them, and kept. An output that cannot be
//! built is tried again with the next event, and holds no other back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use distributary_adapters::kind::{BuildContext, BuildError};
use distributary_config::build::{Found, find};
use distributary_config::dead_letter_outputs::DeadLetterOutputs;
use distributary_config::discovery;
use distributary_config::targets;
use distributary_config::{FanOutConfig, OutputConfig};
use distributary_core::clock::Instant;
use distributary_core::engine::OutputSpec;
use distributary_core::engine::deliver::Patience;
use distributary_core::pump::PumpRef;
use distributary_core::text::chain;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::delivery::Member;

/// The longest time for building outputs, of which some may hang.
const BUILD_MOST: Duration = Duration::from_secs(5);

/// The outputs of a fan-out.
pub(crate) struct Fleet {
    config: FanOutConfig,
    context: BuildContext,
    dead_letters: DeadLetterOutputs,
    /// Rows that outputs take in place of records, by the name of the output.
    rows: BTreeMap<String, PumpRef>,
    /// By the source, for targets belong to one.
    kept: Mutex<BTreeMap<String, Kept>>,
}

/// Everything that events leave for later ones.
#[derive(Default)]
struct Kept {
    /// Outputs that were found by name.
    found: Vec<OutputConfig>,
    searched: Option<Instant>,
    built: BTreeMap<String, Built>,
}

struct Built {
    config: OutputConfig,
    spec: OutputSpec,
    /// The identities of the output and of the place for dead letters.
    identities: Vec<String>,
}

type Answer = (String, Option<Result<Found, BuildError>>);

impl Fleet {
    pub(crate) fn new(
        config: FanOutConfig,
        context: BuildContext,
        rows: BTreeMap<String, PumpRef>,
    ) -> Self {
        Self {
            config,
            context,
            rows,
            dead_letters: DeadLetterOutputs::default(),
            kept: Mutex::default(),
        }
    }

    /// True if records of the stream, queue or topic `arn` are for this fan-out.
    pub(crate) fn reads(&self, arn: &str) -> bool {
        self.config.source.reads(arn)
    }

    /// The outputs for records of `source`.
    ///
    /// # Errors
    /// A sentence, if the outputs are not known, or one of them is the source.
    pub(crate) async fn members(
        &self,
        source: &str,
        deadline: Instant,
    ) -> Result<Vec<Member>, String> {
        let mut sources = self.kept.lock().await;
        let kept = sources.entry(source.to_owned()).or_default();
        self.search(kept, source).await?;
        let mut configs = self.config.outputs.clone();
        let found = kept.found.iter().cloned();
        configs.extend(found);

        kept.retain(&configs);
        let failures = self.build(&configs, kept, deadline);
        let failures = failures.await;
        let mut members = Vec::with_capacity(configs.len());
        for config in configs {
            let name = config.name.as_str();
            let spec = match kept.standing(name, source) {
                Standing::Built(spec) => Ok(spec),
                Standing::NotBuilt => Err(reason(&failures, name)),
                Standing::FoundSource => continue,
                Standing::Source => return Err(is_the_source(name, source)),
            };
            let member = self.member(config.name, spec);
            members.push(member);
        }
        Ok(members)
    }

    fn member(&self, name: String, spec: Result<OutputSpec, String>) -> Member {
        Member {
            name,
            spec,
            patience: Patience::from(&self.config.engine),
        }
    }

    /// Looks for outputs by name, if the last search is too long ago. A search that fails keeps the
    /// last result.
    async fn search(&self, kept: &mut Kept, source: &str) -> Result<(), String> {
        let now = self.context.clock.now();
        if !self.config.searches() || self.is_fresh(kept, now) {
            return Ok(());
        }

        match self.found(kept, source).await {
            Ok(found) => {
                kept.found = found;
                kept.searched = Some(now);
                Ok(())
            }
            Err(error) => keep_last(kept, &chain(&error)),
        }
    }

    /// The outputs that the patterns find, and the targets of the source.
    async fn found(&self, kept: &Kept, source: &str) -> Result<Vec<OutputConfig>, BuildError> {
        let running = kept.built.keys().cloned();
        let running: BTreeSet<String> = running.collect();
        let found = discovery::search(&self.config, &self.context, &running);
        let found = found.await?.into_values();
        let found = found.map(|output| output.config);
        let mut found: Vec<OutputConfig> = found.collect();
        let Some(targets) = &self.config.targets else {
            return Ok(found);
        };

        let named = targets::search(targets, &self.context, source);
        for output in named.await? {
            let mut outputs = self.config.outputs.iter().chain(&found);
            if outputs.any(|other| other.name == output.name) {
                tracing::warn!(
                    output = output.name,
                    "a target has the name of another output"
                );
            } else {
                found.push(output);
            }
        }
        Ok(found)
    }

    fn is_fresh(&self, kept: &Kept, now: Instant) -> bool {
        let interval = self.config.refresh_interval;
        let searched = kept.searched;
        searched.is_some_and(|searched| now.since(searched) < interval)
    }

    /// Builds the outputs that are missing; the reasons of those that cannot be built.
    async fn build(
        &self,
        configs: &[OutputConfig],
        kept: &mut Kept,
        deadline: Instant,
    ) -> BTreeMap<String, String> {
        let clock = &self.context.clock;
        let limit = BUILD_MOST.min(deadline.since(clock.now()) / 3);
        let mut building = JoinSet::new();
        for config in configs {
            if kept.built.contains_key(&config.name) {
                continue;
            }
            let config = config.clone();
            let context = self.context.clone();
            let dead_letters = self.dead_letters.clone();
            building.spawn(build_one(config, context, dead_letters, limit));
        }

        let mut failures = BTreeMap::new();
        while let Some(answer) = building.join_next().await {
            let Ok(answer) = answer else { continue };
            self.keep(answer, configs, kept, &mut failures);
        }
        failures
    }

    fn keep(
        &self,
        (name, found): Answer,
        configs: &[OutputConfig],
        kept: &mut Kept,
        failures: &mut BTreeMap<String, String>,
    ) {
        let mut configs = configs.iter();
        let config = configs.find(|config| config.name == name);
        match (found, config) {
            (Some(Ok(found)), Some(config)) => {
                let built = self.built(config, found);
                kept.built.insert(name, built);
            }
            (Some(Err(error)), _) => {
                failures.insert(name, chain(&error));
            }
            (_, _) => {
                let reason = "the output did not answer in time".to_owned();
                failures.insert(name, reason);
            }
        }
    }

    fn built(&self, config: &OutputConfig, found: Found) -> Built {
        let mut spec = found.spec;
        if let Some(rows) = self.rows.get(&config.name) {
            spec.pump = Some(rows.clone());
        }

        let mut identities = vec![found.identity];
        identities.extend(found.dead_letters);
        Built {
            config: config.clone(),
            spec,
            identities,
        }
    }
}

/// Goes on with the last result of a search, if there is one.
fn keep_last(kept: &Kept, reason: &str) -> Result<(), String> {
    if kept.searched.is_none() {
        return Err(reason.to_owned());
    }
    tracing::warn!("the outputs of the last search are kept: {reason}");
    Ok(())
}

fn reason(failures: &BTreeMap<String, String>, name: &str) -> String {
    let reason = failures.get(name);
    reason.cloned().unwrap_or_default()
}

async fn build_one(
    config: OutputConfig,
    context: BuildContext,
    dead_letters: DeadLetterOutputs,
    limit: Duration,
) -> Answer {
    let name = config.name.clone();
    let clock = context.clock.clone();
    let found = find(config, &context, &dead_letters);
    (name, clock.timeout(limit, found).await)
}

fn is_the_source(output: &str, source: &str) -> String {
    format!(
        "the output {output}, or its dead-letter, is the source of the event ({source}): every record \
         would come round again; name another place"
    )
}

/// An output, as far as records of a source are concerned.
enum Standing {
    Built(OutputSpec),
    NotBuilt,
    /// A configured output is the source itself.
    Source,
    /// A search found the source itself.
    FoundSource,
}

impl Kept {
    fn standing(&self, name: &str, source: &str) -> Standing {
        match self.built.get(name) {
            None => Standing::NotBuilt,
            Some(built) if !built.is_at(source) => {
                let spec = built.spec.clone();
                Standing::Built(spec)
            }
            Some(_) if self.has_found(name) => Standing::FoundSource,
            Some(_) => Standing::Source,
        }
    }

    fn has_found(&self, name: &str) -> bool {
        let mut found = self.found.iter();
        found.any(|config| config.name == name)
    }

    /// Drops outputs that are no longer among `configs`, or that have other settings there.
    fn retain(&mut self, configs: &[OutputConfig]) {
        self.built
            .retain(|_, built| configs.contains(&built.config));
    }
}

impl Built {
    /// True if the output, or its place for dead letters, is the place `arn`.
    fn is_at(&self, arn: &str) -> bool {
        let mut identities = self.identities.iter();
        identities.any(|identity| {
            let rest = identity.strip_prefix(arn);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    }
}
