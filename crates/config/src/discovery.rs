//! Outputs that are found by name: searched at the start, and again at every refresh.

use std::collections::{BTreeMap, BTreeSet};

use distributary_adapters::kind::{BuildContext, BuildError, ListedPlace};
use distributary_adapters::outputs::OutputSettings;
use distributary_core::clock::Millis;
use distributary_core::engine::Start;
use distributary_core::store::State;

use crate::pattern::{OutputPattern, Tag};
use crate::process::{FanOutConfig, OutputConfig};
use crate::targets;

/// An output that a pattern finds.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundOutput {
    /// The settings; the start is that of the fan-out's first start.
    pub config: OutputConfig,
    /// The tag that the output was found by.
    pub tag: Option<Tag>,
    /// The start of an output that is found later.
    pub later_start: Start,
    /// The creation time, where the service returns one: another one is another stream.
    pub created: Option<Millis>,
    /// The list that has the output.
    pub list: List,
}

/// The list that an output was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// The service's own: an output that is missing there may be there all the same.
    Service,
    /// A Targets table: an output that is missing there, or has changed, is no longer one.
    Targets,
}

impl FoundOutput {
    /// The settings with the start of an output that is found later.
    pub fn later(&self) -> OutputConfig {
        OutputConfig {
            start: self.later_start,
            ..self.config.clone()
        }
    }
}

/// The outputs that the patterns of `config` find, by name. Outputs of `running` have precedence
/// where there are more than the limit of a pattern.
///
/// # Errors
/// [`BuildError`] if the service does not list the places.
pub async fn search(
    config: &FanOutConfig,
    context: &BuildContext,
    running: &BTreeSet<String>,
) -> Result<BTreeMap<String, FoundOutput>, BuildError> {
    let mut found = BTreeMap::new();
    for pattern in &config.patterns {
        let Ok(lister) = pattern.settings("name") else {
            continue;
        };
        let mut places = lister.list(context).await?;
        places.retain(|place| {
            let is_new = !found.contains_key(&place.name);
            is_new && is_wanted(place, pattern, config, context)
        });
        let tagged = with_tag(places, pattern, (running, context)).await?;
        let mut places = tagged;
        limit(&mut places, pattern, running);
        add_places(&mut found, pattern, places);
    }
    add_targets(config, context, &mut found).await?;
    Ok(found)
}

fn add_places(
    found: &mut BTreeMap<String, FoundOutput>,
    pattern: &OutputPattern,
    places: Vec<ListedPlace>,
) {
    for place in places {
        let Some(output) = output(pattern, &place) else {
            continue;
        };
        found.insert(place.name, output);
    }
}

/// Adds the targets of the source that have no other output's name.
async fn add_targets(
    config: &FanOutConfig,
    context: &BuildContext,
    found: &mut BTreeMap<String, FoundOutput>,
) -> Result<(), BuildError> {
    let (Some(targets), Some(source)) = (&config.targets, &context.like) else {
        return Ok(());
    };
    let outputs = targets::search(targets, context, &source.arn);
    for output in outputs.await? {
        let mut fixed = config.outputs.iter();
        if fixed.any(|fixed| fixed.name == output.name) {
            continue;
        }
        let name = output.name.clone();
        let target = of_table(output);
        found.entry(name).or_insert(target);
    }
    Ok(())
}

/// The places with the tag of the pattern. Outputs that run are not asked: AWS lists the tags of
/// five streams a second.
async fn with_tag(
    places: Vec<ListedPlace>,
    pattern: &OutputPattern,
    (running, context): (&BTreeSet<String>, &BuildContext),
) -> Result<Vec<ListedPlace>, BuildError> {
    let Some(tag) = &pattern.tag else {
        return Ok(places);
    };
    let mut tagged = Vec::new();
    for place in places {
        if running.contains(&place.name) {
            tagged.push(place);
            continue;
        }

        let settings = pattern.settings(&place.name);
        let Ok(settings) = settings else {
            continue;
        };
        if has_tag(&settings, tag, context).await? {
            tagged.push(place);
        }
    }
    Ok(tagged)
}

/// True if the place has the tag. A place that is gone has none.
async fn has_tag(
    settings: &OutputSettings,
    tag: &Tag,
    context: &BuildContext,
) -> Result<bool, BuildError> {
    let tags = settings.tags(context).await?;
    let Some(tags) = tags else {
        return Ok(false);
    };
    let value = tags.get(&tag.key);
    Ok(value == Some(&tag.value))
}

/// Outputs without progress, beside others that have some, start where later ones do.
pub fn start_later(found: &mut BTreeMap<String, FoundOutput>, state: &State) {
    let lanes = state.lanes.iter();
    let names = lanes.map(|row| row.lane.output.as_str());
    let known: BTreeSet<&str> = names.collect();
    if known.is_empty() {
        return;
    }

    for (name, output) in found {
        if !known.contains(name.as_str()) {
            output.config = output.later();
        }
    }
}

/// Logs that the source is no output, if a pattern has its name.
pub fn note_source(config: &FanOutConfig, context: &BuildContext) {
    let Some(source) = &context.like else {
        return;
    };
    let name = &source.name;
    let mut patterns = config.patterns.iter();
    if patterns.any(|pattern| pattern.tag.is_none() && pattern.names.matches(name)) {
        tracing::info!("the source {name} is left out of the outputs");
    }
}

/// The outputs of `new`, and those of `found` that its patterns have; the others are taken out of
/// `found`.
pub fn with_found(
    new: &FanOutConfig,
    found: &mut BTreeMap<String, FoundOutput>,
) -> Vec<OutputConfig> {
    found.retain(|name, output| still_found(name, output, new));
    let mut outputs = new.outputs.clone();
    let configs = found.values().map(|output| output.config.clone());
    outputs.extend(configs);
    outputs
}

/// True if the patterns of `new` find the output, too; the output gets the settings of `new`.
fn still_found(name: &str, output: &mut FoundOutput, new: &FanOutConfig) -> bool {
    let mut fixed = new.outputs.iter();
    if fixed.any(|fixed| fixed.name == name) {
        return false;
    }
    if output.list == List::Targets {
        return new.targets.is_some();
    }

    let mut patterns = new.patterns.iter();
    let pattern = patterns.find(|pattern| {
        let is_tagged = pattern.tag.is_none() || pattern.tag == output.tag;
        is_tagged && pattern.names.matches(name)
    });
    let config = pattern.map(|pattern| pattern.output(name));
    let Some(Ok(config)) = config else {
        return false;
    };

    output.config = config;
    true
}

/// A target that is registered later gets the records from then on, as with the original.
fn of_table(config: OutputConfig) -> FoundOutput {
    FoundOutput {
        config,
        later_start: Start::Latest,
        created: None,
        tag: None,
        list: List::Targets,
    }
}

fn output(pattern: &OutputPattern, place: &ListedPlace) -> Option<FoundOutput> {
    let config = pattern.output(&place.name).ok()?;
    let tag = pattern.tag.clone();
    let later_start = pattern.new_outputs.start(place.created);
    Some(FoundOutput {
        config,
        tag,
        later_start,
        created: place.created,
        list: List::Service,
    })
}

/// True if the place is an output: named by the pattern, there to stay, not the source, and nothing
/// else in the fan-out.
fn is_wanted(
    place: &ListedPlace,
    pattern: &OutputPattern,
    config: &FanOutConfig,
    context: &BuildContext,
) -> bool {
    let name = place.name.as_str();
    let is_named = pattern.names.matches(name) && !place.is_going;
    let mut fixed = config.outputs.iter();
    is_named
        && !is_source(place, config, context)
        && !pattern.takes_dead_letters(name)
        && !fixed.any(|output| uses(output, pattern.kind(), name))
}

/// True if an output with a table of its own writes to the place `name`, or is called so, or has
/// its dead letters there.
fn uses(output: &OutputConfig, kind: &str, name: &str) -> bool {
    let is_place = |settings: &OutputSettings| {
        let own = settings.default_name();
        settings.kind() == kind && own == name
    };
    let dead_letter = output.refused.dead_letter();
    output.name == name || is_place(&output.settings) || dead_letter.is_some_and(is_place)
}

fn is_source(place: &ListedPlace, config: &FanOutConfig, context: &BuildContext) -> bool {
    let source = context.like.as_ref().map(|stream| stream.arn.as_str());
    match (&place.identity, source) {
        (Some(identity), Some(source)) => identity == source,
        (None, _) | (_, None) => config.source.default_name() == place.name,
    }
}

/// Keeps as many places as the pattern may find.
fn limit(places: &mut Vec<ListedPlace>, pattern: &OutputPattern, running: &BTreeSet<String>) {
    let most = usize::try_from(pattern.outputs_max).unwrap_or(usize::MAX);
    let all = places.len();
    if all > most {
        places.sort_by_key(|place| {
            let is_new = !running.contains(&place.name);
            (is_new, place.name.clone())
        });
        places.truncate(most);
        tracing::warn!(
            "{all} streams are as {}, and outputs-max is {most}: the others are left out; raise \
             outputs-max",
            pattern.wanted()
        );
    }
}
