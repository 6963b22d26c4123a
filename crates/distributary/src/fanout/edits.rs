//! Applies edits of the configuration file to the running fan-out.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use distributary_config::{
    FanOutConfig, Input, Mistakes, OutputConfig, Place, Process, Registry, file, resolve,
};
use distributary_core::clock::Clock;
use distributary_core::engine::{Change, Engine, OutputSpec};
use distributary_core::store::OutputId;
use distributary_core::text::chain;

use super::build::OutputBuilder;
use super::signals::Hangups;

/// Time between two looks at the file. A change is applied when two looks in a row see the same
/// content: an editor may be writing the file, and half a file can look like one without outputs.
const INTERVAL: Duration = Duration::from_secs(1);

/// The configuration file that a running fan-out follows, and the flags that override the file.
#[derive(Clone)]
pub(crate) struct Edits {
    path: PathBuf,
    input: Input,
    registry: Registry,
    /// The name of the fan-out that follows the file.
    fan_out: String,
    /// The content that was last applied or refused.
    seen: Vec<u8>,
}

/// The change of one output.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Remove(String),
    Pause(String),
    Resume(String),
    Update(OutputConfig),
    Add(OutputConfig),
}

impl Edits {
    /// Follows the file at `path`, whose content is in use.
    pub(crate) fn new(path: PathBuf, input: Input, registry: Registry, content: Vec<u8>) -> Self {
        Self {
            path,
            input,
            registry,
            fan_out: String::new(),
            seen: content,
        }
    }

    /// Follows the same file for the fan-out called `name`.
    pub(crate) fn for_fan_out(&self, name: &str) -> Self {
        Self {
            fan_out: name.to_owned(),
            ..self.clone()
        }
    }

    /// Follows the file until the future is dropped. `config` is the configuration in use.
    pub(super) async fn follow(
        mut self,
        mut hangups: Hangups,
        process: Process,
        mut config: FanOutConfig,
        engine: &Engine,
        outputs: &OutputBuilder,
        clock: &Clock,
    ) {
        let mut candidate = None;
        loop {
            let requested = hangups.next_or_after(clock, INTERVAL).await;
            let Some(content) = self.next(&mut candidate, requested).await else {
                continue;
            };
            self.seen.clone_from(&content);

            let applied = self.apply(&content, &process, &mut config, engine, outputs);
            match applied.await {
                Ok(0) => tracing::info!("the configuration was read again; nothing has changed"),
                Ok(steps) => tracing::info!(changes = steps, "the configuration was applied"),
                Err(reason) => log_refused(&reason),
            }
        }
    }

    /// The content of the file, if requested or if changed and settled. `candidate` is the content
    /// of the last look, if that may be applied at the next one.
    async fn next(&self, candidate: &mut Option<Vec<u8>>, requested: bool) -> Option<Vec<u8>> {
        let content = match read(self.path.clone()).await {
            Ok(content) => content,
            Err(reason) => {
                // A file can be missing for a moment while an editor replaces it.
                if requested {
                    log_refused(&unchanged(reason));
                }
                return None;
            }
        };

        let last = candidate.take();
        let is_settled = self.seen != content && last.as_ref() == Some(&content);
        if requested || is_settled {
            return Some(content);
        }
        *candidate = Some(content);
        None
    }

    /// The fan-out as `content` describes it.
    fn changed(&self, content: &[u8], process: &Process) -> Result<FanOutConfig, String> {
        let file = (self.path.as_path(), content);
        let new = resolve::resolve(&self.registry, &self.input, Some(file))
            .map_err(|mistakes| mistakes.to_string())?;
        process
            .check_change(&new)
            .map_err(|fixed| fixed.to_string())?;

        let fan_out = new.fan_outs.into_iter().find(|f| f.name == self.fan_out);
        fan_out.ok_or_else(|| format!("the fan-out {} is missing", self.fan_out))
    }

    /// Applies `content` to the running fan-out. Returns the number of changes. `config` is the
    /// configuration in use, also after a change that failed.
    async fn apply(
        &self,
        content: &[u8],
        process: &Process,
        config: &mut FanOutConfig,
        engine: &Engine,
        outputs: &OutputBuilder,
    ) -> Result<usize, String> {
        let new = self.changed(content, process).map_err(unchanged)?;
        let steps = steps(&config.outputs, &new.outputs);
        let mut specs = outputs
            .outputs(&to_build(&steps))
            .await
            .map_err(|failure| unchanged(failure.message()))?;

        for step in &steps {
            let change = change(step, &mut specs)?;
            engine
                .apply(change)
                .await
                .map_err(|error| format!("{}; earlier changes were applied", chain(&error)))?;
            step.log();
            step.record(&mut config.outputs);
        }
        config.outputs = new.outputs;
        Ok(steps.len())
    }
}

fn log_refused(reason: &str) {
    tracing::error!("the configuration was not applied: {reason}");
}

fn unchanged(reason: impl Display) -> String {
    format!("{reason}; nothing has changed")
}

async fn read(path: PathBuf) -> Result<Vec<u8>, Mistakes> {
    let failed = |error: tokio::task::JoinError| Mistakes::one(&Place::Nowhere, error.to_string());
    tokio::task::spawn_blocking(move || file::read(&path))
        .await
        .map_err(failed)?
}

/// The outputs that have to be built. Built together, so that two outputs to one place are found.
/// Unchanged outputs are left out, since one of them may be out of order.
fn to_build(steps: &[Step]) -> Vec<OutputConfig> {
    let output = |step: &Step| match step {
        Step::Update(new) | Step::Add(new) => Some(new.clone()),
        Step::Remove(_) | Step::Pause(_) | Step::Resume(_) => None,
    };
    steps.iter().filter_map(output).collect()
}

fn change(step: &Step, specs: &mut Vec<OutputSpec>) -> Result<Change, String> {
    let mut spec = |id: &str| {
        let at = specs.iter().position(|s| s.id.as_str() == id);
        at.map(|at| specs.swap_remove(at))
            .ok_or_else(|| format!("the output {id} was not built; this is a bug"))
    };
    Ok(match step {
        Step::Remove(id) => Change::Remove(OutputId::new(id)),
        Step::Pause(id) => Change::Pause(OutputId::new(id)),
        Step::Resume(id) => Change::Resume(OutputId::new(id)),
        Step::Update(config) => Change::Update(spec(&config.name)?),
        Step::Add(config) => Change::Add(spec(&config.name)?),
    })
}

impl Step {
    fn log(&self) {
        match self {
            Self::Remove(id) => {
                tracing::warn!(output = %id, "removed the output and its checkpoints");
            }
            Self::Pause(id) => {
                tracing::info!(output = %id, "paused the output; its checkpoints are kept");
            }
            Self::Resume(id) => tracing::info!(output = %id, "resumed the output"),
            Self::Update(new) => tracing::info!(
                output = %new.name,
                "changed the output's settings; it continues from its checkpoints"
            ),
            Self::Add(new) => tracing::info!(output = %new.name, "added the output"),
        }
    }

    /// Records an applied change in the configuration in use.
    fn record(&self, outputs: &mut Vec<OutputConfig>) {
        match self {
            Self::Remove(id) => outputs.retain(|output| output.name != *id),
            Self::Pause(id) => set_paused(outputs, id, true),
            Self::Resume(id) => set_paused(outputs, id, false),
            Self::Update(new) => {
                outputs.retain(|output| output.name != new.name);
                outputs.push(new.clone());
            }
            Self::Add(new) => outputs.push(new.clone()),
        }
    }
}

fn set_paused(outputs: &mut [OutputConfig], id: &str, paused: bool) {
    if let Some(output) = outputs.iter_mut().find(|output| output.name == id) {
        output.paused = paused;
    }
}

/// The steps from `old` to `new`. Removals come first, so that an output can take over the stream
/// of another one.
fn steps(old: &[OutputConfig], new: &[OutputConfig]) -> Vec<Step> {
    let is_in = |list: &[OutputConfig], name: &str| list.iter().any(|o| o.name == name);
    let removed = old.iter().filter(|output| !is_in(new, &output.name));
    let removed = removed.map(|output| Step::Remove(output.name.clone()));

    let kept =
        new.iter().filter_map(
            |new| match old.iter().find(|output| output.name == new.name) {
                Some(old) => difference(old, new),
                None => Some(Step::Add(new.clone())),
            },
        );
    removed.chain(kept).collect()
}

/// The step from `old` to `new`, which have the same name.
fn difference(old: &OutputConfig, new: &OutputConfig) -> Option<Step> {
    let same_settings = OutputConfig {
        paused: new.paused,
        // An output that has started ignores `start`.
        start: new.start,
        ..old.clone()
    } == *new;
    if !same_settings {
        return Some(Step::Update(new.clone()));
    }
    match (old.paused, new.paused) {
        (true, false) => Some(Step::Resume(new.name.clone())),
        (false, true) => Some(Step::Pause(new.name.clone())),
        (true, true) | (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use distributary_adapters::kind::Shorthand;
    use distributary_adapters::outputs::KINDS;
    use distributary_core::engine::{Order, Start};

    use super::*;

    fn output(id: &str) -> OutputConfig {
        let shorthand = Shorthand::parse(id, KINDS).unwrap();
        OutputConfig {
            name: id.to_owned(),
            settings: KINDS[0].parse(shorthand.table).unwrap(),
            order: Order::Resend,
            start: Start::TrimHorizon,
            paused: false,
        }
    }

    #[test]
    fn only_what_differs_is_changed() {
        let strict = OutputConfig {
            order: Order::Strict,
            ..output("b")
        };
        let paused = OutputConfig {
            paused: true,
            ..output("c")
        };
        let later = OutputConfig {
            start: Start::Latest,
            ..output("a")
        };
        let old = [output("a"), output("b"), output("c"), output("d")];
        let new = [output("e"), later, strict.clone(), paused.clone()];
        assert_eq!(
            steps(&old, &new),
            [
                Step::Remove("d".into()),
                Step::Add(output("e")),
                Step::Update(strict),
                Step::Pause("c".into())
            ]
        );
        assert_eq!(steps(&[paused], &[output("c")]), [Step::Resume("c".into())]);
        assert_eq!(steps(&old, &old), []);
    }
}
