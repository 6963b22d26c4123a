//! The changes between two configurations of a fan-out's outputs.

use std::collections::BTreeSet;

use distributary_adapters::kind::{Surroundings, Target};
use distributary_config::OutputConfig;

use super::OutputChange;

impl OutputChange {
    /// The name of the output.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Remove(name)
            | Self::Detach(name)
            | Self::Pause(name)
            | Self::Resume(name)
            | Self::Restart(name, _)
            | Self::Seek { name, .. }
            | Self::Skip { name, .. } => name,
            Self::Update(config) | Self::Add(config) => &config.name,
        }
    }

    /// The configuration of an output that has to be built for the change.
    pub(super) fn config(&self) -> Option<OutputConfig> {
        match self {
            Self::Update(config) | Self::Add(config) => Some(config.clone()),
            Self::Remove(_)
            | Self::Detach(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Restart(..)
            | Self::Seek { .. }
            | Self::Skip { .. } => None,
        }
    }

    /// A sentence about the change after it was made.
    pub(super) fn done(&self) -> String {
        let name = self.name();
        match self {
            Self::Remove(_) => format!("removed the output {name} and forgot its progress"),
            Self::Detach(_) => format!(
                "the output {name} is no longer configured and has ended; its progress is kept, until \
                 `distributary state forget`"
            ),
            Self::Pause(_) => format!("paused the output {name}; its position is kept"),
            Self::Resume(_) => format!("resumed the output {name}"),
            Self::Update(_) => {
                format!("changed the settings of the output {name}; it continues where it was")
            }
            Self::Add(_) => format!("added the output {name}"),
            Self::Seek { shard: None, .. } => format!("moved the output {name} in every shard"),
            Self::Seek {
                shard: Some(shard), ..
            } => format!("moved the output {name} in shard {shard}"),
            Self::Skip { sequence, .. } => {
                format!("the output {name} goes on behind the record {sequence}")
            }
            Self::Restart(..) => {
                format!("forgot the progress of the output {name} and restarted it")
            }
        }
    }
}

/// Logs a change that was made, and enters the change into the outputs in force.
pub(super) fn note(change: &OutputChange, outputs: &mut Vec<OutputConfig>) {
    log(change);

    let name = change.name();
    match change {
        OutputChange::Remove(_) | OutputChange::Detach(_) => outputs.retain(|o| o.name != name),
        OutputChange::Pause(_) => set_paused(outputs, name, true),
        OutputChange::Resume(_) => set_paused(outputs, name, false),
        OutputChange::Update(new) | OutputChange::Add(new) => {
            outputs.retain(|o| o.name != name);
            outputs.push(new.clone());
        }
        OutputChange::Restart(..) | OutputChange::Seek { .. } | OutputChange::Skip { .. } => {}
    }
}

fn log(change: &OutputChange) {
    let text = change.done();
    match change {
        OutputChange::Remove(_)
        | OutputChange::Detach(_)
        | OutputChange::Restart(..)
        | OutputChange::Seek { .. }
        | OutputChange::Skip { .. } => tracing::warn!("{text}"),
        OutputChange::Pause(_)
        | OutputChange::Resume(_)
        | OutputChange::Update(_)
        | OutputChange::Add(_) => tracing::info!("{text}"),
    }
}

fn set_paused(outputs: &mut [OutputConfig], name: &str, paused: bool) {
    if let Some(output) = outputs.iter_mut().find(|o| o.name == name) {
        output.paused = paused;
    }
}

/// The changes that turn `old` into `new`. Outputs that leave are first, so that an output may take
/// a stream that another output gives up, with the progress there.
pub(super) fn between(old: &[OutputConfig], new: &[OutputConfig]) -> Vec<OutputChange> {
    let moved = moved(old, new);
    let leaves = |output: &&OutputConfig| {
        let name = &output.name;
        moved.contains(name) || find(new, name).is_none()
    };
    let (left, stayed): (Vec<_>, Vec<_>) = old.iter().partition(leaves);
    let left = left.into_iter().map(|output| output.name.clone());
    let mut changes: Vec<OutputChange> = left.map(OutputChange::Detach).collect();

    for output in new {
        let mut before = stayed.iter();
        match before.find(|before| before.name == output.name) {
            None => changes.push(OutputChange::Add(output.clone())),
            Some(before) => changes.extend(change_of(before, output)),
        }
    }
    changes
}

/// The names of outputs whose places another name has now, and these other names: the progress
/// moves with the place.
fn moved(old: &[OutputConfig], new: &[OutputConfig]) -> BTreeSet<String> {
    let mut moved = BTreeSet::new();
    let left = old.iter().filter(|before| !has_place(new, before));
    for before in left {
        let place = target(before);
        let come = new.iter().filter(|now| !has_place(old, now));

        for now in come {
            if target(now) == place {
                moved.insert(before.name.clone());
                moved.insert(now.name.clone());
            }
        }
    }
    moved
}

/// True if the output of the same name in `outputs` has the same place.
fn has_place(outputs: &[OutputConfig], output: &OutputConfig) -> bool {
    let place = target(output);
    let other = find(outputs, &output.name);
    other.is_some_and(|other| target(other) == place)
}

fn target(output: &OutputConfig) -> Target {
    output.settings.target(&Surroundings::default())
}

fn find<'a>(outputs: &'a [OutputConfig], name: &str) -> Option<&'a OutputConfig> {
    outputs.iter().find(|output| output.name == name)
}

/// The change of one output, if the two configurations differ.
fn change_of(old: &OutputConfig, new: &OutputConfig) -> Option<OutputChange> {
    // `start` means nothing to an output that has progress.
    let same = OutputConfig {
        paused: new.paused,
        start: new.start,
        ..old.clone()
    };
    match (old.paused, new.paused) {
        _ if same != *new => Some(OutputChange::Update(new.clone())),
        (true, false) => Some(OutputChange::Resume(new.name.clone())),
        (false, true) => Some(OutputChange::Pause(new.name.clone())),
        (true, true) | (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use distributary_adapters::kind::Shorthand;
    use distributary_adapters::outputs::KINDS;
    use distributary_config::RefusedRecords;
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
            refused: RefusedRecords::StopLane,
            filter: None,
            rows: None,
            prepared: Vec::new(),
        }
    }

    #[test]
    fn only_the_differences_become_changes() {
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
            between(&old, &new),
            [
                OutputChange::Detach("d".into()),
                OutputChange::Add(output("e")),
                OutputChange::Update(strict),
                OutputChange::Pause("c".into())
            ]
        );
        assert_eq!(
            between(&[paused], &[output("c")]),
            [OutputChange::Resume("c".into())]
        );
        assert_eq!(between(&old, &old), []);
    }

    #[test]
    fn outputs_that_exchange_their_names_leave_and_come_back() {
        let named = |name: &str, stream: &str| OutputConfig {
            name: name.to_owned(),
            ..output(stream)
        };
        let old = [named("x", "a"), named("y", "b"), named("z", "c")];
        let new = [named("x", "b"), named("y", "a"), named("z", "c")];
        assert_eq!(
            between(&old, &new),
            [
                OutputChange::Detach("x".into()),
                OutputChange::Detach("y".into()),
                OutputChange::Add(named("x", "b")),
                OutputChange::Add(named("y", "a")),
            ]
        );
        let renamed = [named("v", "a"), named("y", "b"), named("z", "c")];
        assert_eq!(
            between(&old, &renamed),
            [
                OutputChange::Detach("x".into()),
                OutputChange::Add(named("v", "a")),
            ]
        );
    }
}
