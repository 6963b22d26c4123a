//! Recognises outputs by their places: an output with a new name goes on where the output of that
//! place was.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::{CheckpointStore, LaneId, OutputId, State};

use super::start::Asking;
use super::{EngineError, OutputSpec};

/// Follows the name of an output whose place is no longer configured, where another place has that
/// name now.
const ASIDE: &str = "~";

/// The names that outputs had in the state, and their names now.
type Renames = BTreeMap<OutputId, OutputId>;

/// The state with the rows of renamed outputs under their new names, in the store as well.
/// `running`: further outputs, which keep their rows.
pub(crate) async fn recognise(
    asking: &Asking<'_>,
    store: &dyn CheckpointStore,
    outputs: &[OutputSpec],
    running: &BTreeSet<OutputId>,
    stored: State,
) -> Result<State, EngineError> {
    let mut renames = renames(outputs, running, &stored);
    if renames.is_empty() {
        return Ok(stored);
    }
    set_aside(&mut renames, &stored);
    for (before, now) in &renames {
        let text = "the progress of a place has a new name, and goes on there";
        tracing::warn!(output = %now, %before, "{text}");
    }

    let doing = "renaming outputs";
    let state = renamed(&renames, &stored);
    let moved = moved(&renames, &state);
    asking.store(doing, || store.commit(&moved)).await?;

    let kept: BTreeSet<&LaneId> = state.lanes.iter().map(|row| &row.lane).collect();
    let mut gone: Vec<LaneId> = stored.lanes.into_iter().map(|row| row.lane).collect();
    gone.retain(|lane| !kept.contains(lane));
    asking.store(doing, || store.forget(&gone)).await?;
    Ok(state)
}

/// The outputs whose place had another name in the state.
fn renames(outputs: &[OutputSpec], running: &BTreeSet<OutputId>, stored: &State) -> Renames {
    let mut renames = Renames::new();
    for spec in outputs {
        let Some(place) = spec.identity() else {
            continue;
        };
        let rows = stored.outputs.iter();
        let mut same = rows.filter(|row| row.identity.arn == place.arn);
        if same.clone().any(|row| row.output == spec.id) {
            continue;
        }

        let is_free = |name: &OutputId| {
            let stays = outputs.iter().any(|other| stays(other, name, &place.arn));
            !stays && !running.contains(name) && !renames.contains_key(name)
        };
        if let Some(before) = same.find(|row| is_free(&row.output)) {
            renames.insert(before.output.clone(), spec.id.clone());
        }
    }
    renames
}

/// True if `spec` still has the name and the place.
fn stays(spec: &OutputSpec, name: &OutputId, place: &str) -> bool {
    let now = spec.identity();
    spec.id == *name && now.is_some_and(|identity| identity.arn == place)
}

/// Adds names for the rows of other places that have a new name now: kept, in case such a place is
/// added again.
fn set_aside(renames: &mut Renames, stored: &State) {
    let named: BTreeSet<&OutputId> = stored.lanes.iter().map(|row| &row.lane.output).collect();
    let taken: Vec<OutputId> = renames.values().cloned().collect();
    for name in taken {
        if !named.contains(&name) || renames.contains_key(&name) {
            continue;
        }
        let mut aside = format!("{name}{ASIDE}");
        while named.contains(&OutputId::new(&aside)) {
            aside.push_str(ASIDE);
        }
        renames.insert(name, OutputId::new(&aside));
    }
}

/// The state under the new names.
fn renamed(renames: &Renames, stored: &State) -> State {
    let name = |output: &mut OutputId| {
        if let Some(now) = renames.get(output) {
            output.clone_from(now);
        }
    };

    let mut state = stored.clone();
    state
        .lanes
        .iter_mut()
        .for_each(|row| name(&mut row.lane.output));
    state
        .outputs
        .iter_mut()
        .for_each(|row| name(&mut row.output));
    state
        .snapshots
        .iter_mut()
        .for_each(|row| name(&mut row.output));
    state
}

/// The rows of `state` whose outputs have new names.
fn moved(renames: &Renames, state: &State) -> State {
    let new: BTreeSet<&OutputId> = renames.values().collect();
    let mut moved = state.clone();
    moved.lanes.retain(|row| new.contains(&row.lane.output));
    moved.outputs.retain(|row| new.contains(&row.output));
    moved.snapshots.retain(|row| new.contains(&row.output));
    moved
}

/// Logs which outputs have progress and are not among `outputs`.
pub(crate) fn note_others(stored: &State, outputs: &[OutputSpec]) {
    let is_configured = |id: &OutputId| outputs.iter().any(|spec| spec.id == *id);
    let rows = stored.lanes.iter().map(|row| &row.lane.output);
    let others: BTreeSet<&str> = rows
        .filter(|id| !is_configured(id))
        .map(OutputId::as_str)
        .collect();
    if others.is_empty() {
        return;
    }

    let names: Vec<&str> = others.into_iter().collect();
    let text = "the state keeps the progress of outputs that are not configured, until \
                `distributary state forget`";
    tracing::info!(outputs = names.join(", "), "{text}");
}
