//! Changes of the configuration while it runs.

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

/// How often the file is looked at. A change counts when it is the same twice in a row: an editor may be in the middle of
/// writing it, and half a file can look like one that has lost its outputs.
const LOOK: Duration = Duration::from_secs(1);

/// The file that a running fan-out follows, and the flags that go before it.
#[derive(Clone)]
pub(crate) struct Edits {
    path: PathBuf,
    input: Input,
    registry: Registry,
    /// The fan-out that follows the file.
    fan_out: String,
    /// What was last read, taken over or refused.
    seen: Option<Vec<u8>>,
}

/// What to do about one output.
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
            seen: Some(content),
        }
    }

    /// The same for one fan-out of the file.
    pub(crate) fn for_fan_out(&self, name: &str) -> Self {
        Self {
            fan_out: name.to_owned(),
            ..self.clone()
        }
    }

    /// Follows the file as long as it is polled. `config` is what is in use.
    pub(super) async fn follow(
        mut self,
        mut hangups: Hangups,
        process: Process,
        mut config: FanOutConfig,
        engine: &Engine,
        outputs: &OutputBuilder,
        clock: &Clock,
    ) {
        let mut candidate: Option<Vec<u8>> = None;
        loop {
            let asked = hangups.next_or_after(clock, LOOK).await;
            let content = match read(self.path.clone()).await {
                Ok(content) => content,
                Err(why) => {
                    // An editor that replaces a file may have it away for a moment.
                    if asked {
                        tracing::error!(
                            "the configuration was not taken over; nothing has changed: {why}"
                        );
                    }
                    continue;
                }
            };
            let new = self.seen.as_ref() != Some(&content);
            let settled = candidate.as_ref() == Some(&content);
            if !(asked || new && settled) {
                candidate = Some(content);
                continue;
            }
            candidate = None;
            self.seen = Some(content.clone());
            match self
                .take_over(&content, &process, &mut config, engine, outputs)
                .await
            {
                Ok(0) => tracing::info!("the configuration was read again; nothing is different"),
                Ok(steps) => tracing::info!(changes = steps, "the configuration was taken over"),
                Err(why) => tracing::error!("the configuration was not taken over: {why}"),
            }
        }
    }
}

async fn read(path: PathBuf) -> Result<Vec<u8>, Mistakes> {
    let failed = |error: tokio::task::JoinError| Mistakes::one(Place::Nowhere, error.to_string());
    tokio::task::spawn_blocking(move || file::read(&path))
        .await
        .map_err(failed)?
}

impl Edits {
    /// The fan-out as the file has it now.
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

    /// Makes the running fan-out what the file says; how many changes that took. `config` is kept to what is in use, also
    /// when a change fails.
    async fn take_over(
        &self,
        content: &[u8],
        process: &Process,
        config: &mut FanOutConfig,
        engine: &Engine,
        outputs: &OutputBuilder,
    ) -> Result<usize, String> {
        let unchanged = |why: String| format!("{why}; nothing has changed");
        let new = self.changed(content, process).map_err(unchanged)?;
        let steps = steps(&config.outputs, &new.outputs);
        // All outputs together, so that two that are one place are found; those that stay as they are may be out of order.
        let touched = |o: &&OutputConfig| {
            steps
                .iter()
                .any(|s| matches!(s, Step::Update(n) | Step::Add(n) if n.name == o.name))
        };
        let asked: Vec<OutputConfig> = new.outputs.iter().filter(touched).cloned().collect();
        let mut specs = outputs
            .outputs(&asked)
            .await
            .map_err(|failure| unchanged(failure.message().to_owned()))?;

        for step in &steps {
            let change = change(step, &mut specs)?;
            engine
                .apply(change)
                .await
                .map_err(|e| format!("{}; changes before it were taken over", chain(&e)))?;
            note(step, &mut config.outputs);
        }
        config.outputs = new.outputs;
        Ok(steps.len())
    }
}

fn change(step: &Step, specs: &mut Vec<OutputSpec>) -> Result<Change, String> {
    let mut spec = |id: &str| {
        let at = specs.iter().position(|s| s.id.as_str() == id);
        at.map(|at| specs.swap_remove(at))
            .ok_or_else(|| format!("the output {id} was not asked"))
    };
    Ok(match step {
        Step::Remove(id) => Change::Remove(OutputId::new(id)),
        Step::Pause(id) => Change::Pause(OutputId::new(id)),
        Step::Resume(id) => Change::Resume(OutputId::new(id)),
        Step::Update(config) => Change::Update(spec(&config.name)?),
        Step::Add(config) => Change::Add(spec(&config.name)?),
    })
}

/// Says a change that was made, and enters it into what is in use.
fn note(step: &Step, outputs: &mut Vec<OutputConfig>) {
    let set_paused = |outputs: &mut Vec<OutputConfig>, id: &str, paused| {
        if let Some(output) = outputs.iter_mut().find(|o| o.name == id) {
            output.paused = paused;
        }
    };
    match step {
        Step::Remove(id) => {
            tracing::warn!(output = %id, "removed the output and forgot its progress");
            outputs.retain(|o| o.name != *id);
        }
        Step::Pause(id) => {
            tracing::info!(output = %id, "paused the output; its place is kept");
            set_paused(outputs, id, true);
        }
        Step::Resume(id) => {
            tracing::info!(output = %id, "resumed the output");
            set_paused(outputs, id, false);
        }
        Step::Update(new) => {
            tracing::info!(output = %new.name, "changed the output's settings; it goes on where it was");
            outputs.retain(|o| o.name != new.name);
            outputs.push(new.clone());
        }
        Step::Add(new) => {
            tracing::info!(output = %new.name, "added the output");
            outputs.push(new.clone());
        }
    }
}

/// What makes `old` into `new`. Removals come first, so that an output may take a stream that another one gives up.
fn steps(old: &[OutputConfig], new: &[OutputConfig]) -> Vec<Step> {
    let find = |list: &[OutputConfig], id: &str| list.iter().find(|o| o.name == id).cloned();
    let removed = old
        .iter()
        .filter(|o| find(new, &o.name).is_none())
        .map(|o| Step::Remove(o.name.clone()));
    let kept = new.iter().filter_map(|n| match find(old, &n.name) {
        None => Some(Step::Add(n.clone())),
        // `start` says nothing to an output that has begun.
        Some(o)
            if OutputConfig {
                paused: n.paused,
                start: n.start,
                ..o.clone()
            } != *n =>
        {
            Some(Step::Update(n.clone()))
        }
        Some(o) if o.paused && !n.paused => Some(Step::Resume(n.name.clone())),
        Some(o) if !o.paused && n.paused => Some(Step::Pause(n.name.clone())),
        Some(_) => None,
    });
    removed.chain(kept).collect()
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
