//! Outputs that can't be used at the start: each stands in the engine as an output that takes
//! nothing, and is tried again until the real one takes its place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use distributary_adapters::kind::{BuildContext, BuildError};
use distributary_config::OutputConfig;
use distributary_config::build::{Found, find};
use distributary_config::dead_letter_outputs::DeadLetterOutputs;
use distributary_core::batch::Batch;
use distributary_core::clock::Instant;
use distributary_core::engine::OutputSpec;
use distributary_core::output::{
    Chunk, EncodingKey, Outcome, Output, Picks, Profile, RequestLimits, Trouble, TroubleKind,
};
use distributary_core::store::OutputId;
use distributary_core::sync::lock;
use distributary_core::text::chain;
use tokio::task::JoinHandle;

/// Time between two tries at first; doubled after each, up to [`RETRY_MAX`].
const RETRY: Duration = Duration::from_secs(1);
/// The longest time between two tries.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// An output that takes nothing, for a reason.
struct Unusable {
    profile: Profile,
    trouble: Mutex<Trouble>,
}

impl Unusable {
    fn new(config: &OutputConfig, trouble: Trouble) -> Arc<Self> {
        let limits = RequestLimits {
            entries: 500,
            bytes: 1 << 20,
        };
        let profile = Profile {
            keeps: config.settings.keeps(),
            ..Profile::new(limits)
        };
        let trouble = Mutex::new(trouble);
        Arc::new(Self { profile, trouble })
    }
}

#[async_trait]
impl Output for Unusable {
    fn profile(&self) -> Profile {
        self.profile
    }

    fn encoding(&self) -> EncodingKey {
        EncodingKey::new("unusable", "")
    }

    fn encoded_bound(&self, _: usize, _: usize) -> usize {
        0
    }

    fn encode(&self, _: &Batch, picks: Picks) -> Chunk {
        Chunk {
            picks,
            payload: Box::new(()),
            allocation: 0,
        }
    }

    async fn write(&self, _: &Batch, _: &Chunk, _: Duration) -> Outcome {
        let trouble = lock(&self.trouble).clone();
        Outcome::Rejected(trouble)
    }

    fn unusable(&self) -> Option<Trouble> {
        Some(lock(&self.trouble).clone())
    }
}

/// The reason of a failed build.
fn trouble(error: &BuildError) -> Trouble {
    let kind = match error {
        BuildError::Failed { source, .. } => source.kind,
        BuildError::Settings(_) | BuildError::LeftOut(_) | BuildError::System { .. } => {
            TroubleKind::Invalid
        }
    };
    Trouble::new(kind, chain(error))
}

/// True if the reason of a failed build may pass by itself.
pub(super) fn may_pass(error: &BuildError) -> bool {
    matches!(
        trouble(error).kind,
        TroubleKind::Throttled | TroubleKind::Unavailable
    )
}

/// An output that can't be used.
struct Entry {
    config: OutputConfig,
    output: Arc<Unusable>,
}

/// The answers about the outputs that were tried again, by name.
type Tried = Vec<(String, Result<Found, BuildError>)>;

/// The outputs of a fan-out that can't be used, and the next try.
#[derive(Default)]
pub(super) struct Failing {
    entries: BTreeMap<String, Entry>,
    next_try: Instant,
    wait: Duration,
    tries: Option<JoinHandle<Tried>>,
}

impl Failing {
    /// Notes an output that can't be used. Returns the output that stands in for it.
    pub(super) fn add(&mut self, config: &OutputConfig, error: &BuildError) -> OutputSpec {
        let trouble = trouble(error);
        let reason = &trouble.message;
        let name = &config.name;
        tracing::error!(
            output = name,
            "the output is failing, and is tried again: {reason}"
        );

        let output = Unusable::new(config, trouble);
        let spec = stand_in(config, &output);
        let config = config.clone();
        let entry = Entry { config, output };
        self.entries.insert(name.clone(), entry);
        spec
    }

    /// True if every output can be used.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The settings of an output that can't be used.
    pub(super) fn config(&self, name: &str) -> Option<OutputConfig> {
        let entry = self.entries.get(name)?;
        Some(entry.config.clone())
    }

    /// The output can be used, or is gone.
    pub(super) fn remove(&mut self, name: &str) {
        self.entries.remove(name);
    }

    /// The first output with the reason.
    pub(super) fn first(&self) -> Option<(&str, String)> {
        let (name, entry) = self.entries.first_key_value()?;
        let trouble = lock(&entry.output.trouble);
        Some((name, trouble.message.clone()))
    }

    /// The output can still not be used, for this reason.
    pub(super) fn note(&self, name: &str, reason: Trouble) {
        if let Some(entry) = self.entries.get(name) {
            *lock(&entry.output.trouble) = reason;
        }
    }

    /// Starts the next try when one is due. Returns the outputs of the last try that can be used
    /// now.
    pub(super) async fn look(
        &mut self,
        context: &BuildContext,
        dead_letters: &DeadLetterOutputs,
    ) -> Vec<(String, Found)> {
        let now = context.clock.now();
        let Some(tries) = &mut self.tries else {
            self.start_when_due(now, context, dead_letters);
            return Vec::new();
        };
        if !tries.is_finished() {
            return Vec::new();
        }

        let tried = tries.await.unwrap_or_default();
        self.tries = None;
        self.next_try = now.plus(self.wait);
        self.take(tried)
    }

    fn start_when_due(
        &mut self,
        now: Instant,
        context: &BuildContext,
        dead_letters: &DeadLetterOutputs,
    ) {
        if self.is_empty() || now < self.next_try {
            return;
        }
        let wait = self.wait.saturating_mul(2);
        self.wait = wait.clamp(RETRY, RETRY_MAX);

        let tries = self.try_again(context, dead_letters);
        self.tries = Some(tries);
    }

    fn take(&self, tried: Tried) -> Vec<(String, Found)> {
        let mut usable = Vec::new();
        for (name, result) in tried {
            match result {
                Ok(found) => usable.push((name, found)),
                Err(error) => self.note(&name, trouble(&error)),
            }
        }
        usable
    }

    fn try_again(
        &self,
        context: &BuildContext,
        dead_letters: &DeadLetterOutputs,
    ) -> JoinHandle<Tried> {
        let configs = self.entries.values().map(|entry| entry.config.clone());
        let configs: Vec<OutputConfig> = configs.collect();
        let context = context.clone();
        let dead_letters = dead_letters.clone();

        tokio::spawn(async move {
            let mut tried = Tried::new();
            for config in configs {
                let name = config.name.clone();
                let found = find(config, &context, &dead_letters).await;
                tried.push((name, found));
            }
            tried
        })
    }
}

/// The output of the engine for one that can't be used.
fn stand_in(config: &OutputConfig, output: &Arc<Unusable>) -> OutputSpec {
    OutputSpec {
        id: OutputId::new(&config.name),
        output: output.clone(),
        place: None,
        order: config.order,
        start: config.start,
        paused: config.paused,
        dead_letter: None,
        pump: None,
    }
}
