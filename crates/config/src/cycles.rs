//! Fan-outs of one process that feed each other in a circle.

use distributary_adapters::kind::{Surroundings, Target};

use crate::mistake::{Mistakes, Place};
use crate::pattern::OutputPattern;
use crate::process::FanOutConfig;

/// A fan-out with the place where it was written.
pub(crate) struct Node<'a> {
    pub(crate) config: &'a FanOutConfig,
    pub(crate) place: &'a Place,
}

/// One mistake for each circle of fan-outs, at the first fan-out of the circle.
pub(crate) fn cycles(nodes: &[Node<'_>], surroundings: &Surroundings) -> Mistakes {
    let feeds = edges(nodes, surroundings);
    let mut mistakes = Mistakes::default();
    let mut reported: Vec<usize> = Vec::new();
    for first in 0..nodes.len() {
        if reported.contains(&first) {
            continue;
        }
        let Some(circle) = circle(first, &feeds) else {
            continue;
        };

        reported.extend(&circle);
        let message = message(&circle, nodes);
        mistakes.add(nodes[first].place, message);
    }
    mistakes
}

/// For each fan-out the others whose sources it writes to.
fn edges(nodes: &[Node<'_>], surroundings: &Surroundings) -> Vec<Vec<usize>> {
    let mut edges = vec![Vec::new(); nodes.len()];
    for (from, node) in nodes.iter().enumerate() {
        for (to, other) in nodes.iter().enumerate() {
            let node = node.config;
            let other = other.config;
            let feeds = writes_to(node, other, surroundings);
            if from != to && feeds {
                edges[from].push(to);
            }
        }
    }
    edges
}

fn writes_to(from: &FanOutConfig, to: &FanOutConfig, surroundings: &Surroundings) -> bool {
    let source = to.source.target(surroundings);
    for output in &from.outputs {
        let dead_letter = output.refused.dead_letter();
        let dead_letter = dead_letter.into_iter();
        let mut places = dead_letter.chain([&output.settings]);
        if places.any(|place| place.target(surroundings) == source) {
            return true;
        }
    }

    let name = to.source.default_name();
    let mut patterns = from.patterns.iter();
    patterns.any(|pattern| finds(pattern, &name, &source, surroundings))
}

/// True if the pattern finds the stream `name`, as far as the settings tell: a tag is on the stream
/// only.
fn finds(
    pattern: &OutputPattern,
    name: &str,
    source: &Target,
    surroundings: &Surroundings,
) -> bool {
    let is_named = pattern.tag.is_none() && pattern.names.matches(name);
    let settings = pattern.settings(name).ok();
    let target = settings.map(|settings| settings.target(surroundings));
    is_named && target.as_ref() == Some(source)
}

/// The shortest way from `first` back to itself.
fn circle(first: usize, feeds: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut before: Vec<Option<usize>> = vec![None; feeds.len()];
    let mut next = vec![first];
    let mut at = 0;
    while let Some(&node) = next.get(at) {
        at += 1;

        for &fed in &feeds[node] {
            if fed == first {
                let way = way(node, first, &before);
                return Some(way);
            }
            if before[fed].is_none() {
                before[fed] = Some(node);
                next.push(fed);
            }
        }
    }
    None
}

/// The fan-outs from `first` to `last`.
fn way(last: usize, first: usize, before: &[Option<usize>]) -> Vec<usize> {
    let mut way = vec![last];
    let mut at = last;
    while at != first
        && let Some(earlier) = before[at]
    {
        way.push(earlier);
        at = earlier;
    }
    way.reverse();
    way
}

fn message(circle: &[usize], nodes: &[Node<'_>]) -> String {
    let mut steps = Vec::new();
    for (i, from) in circle.iter().enumerate() {
        let next = (i + 1) % circle.len();
        let next = circle[next];
        let to = nodes[next].config;

        let stream = to.source.default_name();
        let to = &to.name;
        let from = &nodes[*from].config.name;
        steps.push(format!("{from} writes to {stream}, the source of {to}"));
    }
    let steps = steps.join("; ");
    format!(
        "fan-outs feed each other in a circle, and every record would be copied round and round: \
         {steps}; leave one of these outputs out"
    )
}
