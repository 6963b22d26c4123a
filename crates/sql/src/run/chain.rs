//! A pump's operators: children before their parents, so that a row moves to the right only.

use crate::plan::{Leaf, LeafSource, Plan};
use crate::run::distinct::Distinct;
use crate::run::forest::Forest;
use crate::run::group::Group;
use crate::run::group_rank::GroupRank;
use crate::run::items::Items;
use crate::run::join::Join;
use crate::run::operator::{Context, Operator, Row, StateError};
use crate::run::outer::Outer;
use crate::run::project::{Filter, Merge, Project};
use crate::run::slide::Slide;
use crate::run::sort::Sort;

pub(crate) struct Chain {
    nodes: Vec<Node>,
    entries: Vec<Entry>,
}

struct Node {
    operator: Box<dyn Operator>,
    /// The node and port that take the rows; `None` for the last one, whose rows are the pump's.
    parent: Option<(usize, usize)>,
}

/// A place at which rows of a stream come in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) stream: usize,
    node: usize,
    port: usize,
    /// The place of the stream's name in the text.
    order: usize,
}

/// The rows of a part of the plan.
enum Feed {
    Node(usize),
    /// A stream, and the place of the name in the text.
    Scan(usize, usize),
}

impl Chain {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut builder = Builder {
            chain: Self {
                nodes: Vec::new(),
                entries: Vec::new(),
            },
            scans: 0,
        };
        let last = builder.add(plan);
        if let Feed::Scan(..) = last {
            builder.node(Merge, vec![last]);
        }

        let mut chain = builder.chain;
        chain.entries.sort_by_key(|entry| entry.order);
        chain
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Processes a row that comes in at an entry.
    pub(crate) fn process(&mut self, entry: Entry, row: Row<'_>, context: &mut Context<'_>) {
        deliver(&mut self.nodes, 0, (entry.node, entry.port), row, context);
    }

    pub(crate) fn deadline(&self) -> Option<i64> {
        self.nodes
            .iter()
            .filter_map(|node| node.operator.deadline())
            .min()
    }

    /// Fires the lowest operator that is due at this instant.
    pub(crate) fn fire(&mut self, at: i64, context: &mut Context<'_>) {
        let due = |node: &Node| {
            node.operator
                .deadline()
                .is_some_and(|deadline| deadline <= at)
        };
        let Some(index) = self.nodes.iter().position(due) else {
            return;
        };
        let Some((node, rest)) = self.nodes[index..].split_first_mut() else {
            return;
        };
        let parent = node.parent;
        node.operator.fire(at, context, &mut |context, row| {
            forward(rest, index + 1, parent, row, context);
        });
    }

    pub(crate) fn save(&self) -> Result<Vec<Vec<u8>>, StateError> {
        self.nodes.iter().map(|node| node.operator.save()).collect()
    }

    /// Takes up saved states, one for each operator.
    pub(crate) fn load(&mut self, states: &[Vec<u8>]) -> Result<(), StateError> {
        for (node, state) in self.nodes.iter_mut().zip(states) {
            if !state.is_empty() {
                node.operator.load(state)?;
            }
        }
        Ok(())
    }

    pub(crate) fn state_size(&self) -> usize {
        self.nodes
            .iter()
            .map(|node| node.operator.state_size())
            .sum()
    }
}

/// Gives a row to a node. `nodes` begins with the node numbered `first`.
fn deliver(
    nodes: &mut [Node],
    first: usize,
    (target, port): (usize, usize),
    row: Row<'_>,
    context: &mut Context<'_>,
) {
    let Some((node, rest)) = nodes
        .get_mut(target - first..)
        .and_then(<[Node]>::split_first_mut)
    else {
        return;
    };
    let parent = node.parent;
    let result = node
        .operator
        .process(port, row, context, &mut |context, row| {
            forward(rest, target + 1, parent, row, context);
        });
    if let Err(error) = result {
        context.fail(error);
    }
}

fn forward(
    rest: &mut [Node],
    first: usize,
    parent: Option<(usize, usize)>,
    row: Row<'_>,
    context: &mut Context<'_>,
) {
    match parent {
        Some(parent) => deliver(rest, first, parent, row, context),
        None => context.insert(row),
    }
}

struct Builder {
    chain: Chain,
    scans: usize,
}

impl Builder {
    // tidy: long because it lists every operator once
    fn add(&mut self, plan: &Plan) -> Feed {
        match plan {
            Plan::Scan(stream) => {
                self.scans += 1;
                Feed::Scan(*stream, self.scans)
            }
            Plan::Filter(input, condition) => {
                let filter = Filter(condition.clone());
                self.above(input, filter)
            }
            Plan::Project(input, columns) => {
                let project = Project::new(columns.clone());
                self.above(input, project)
            }
            Plan::UnionAll(left, right) => {
                let inputs = vec![self.add(left), self.add(right)];
                self.node(Merge, inputs)
            }
            Plan::Group(plan) => {
                let group = Group::new(
                    plan.keys.clone(),
                    plan.closing.clone(),
                    plan.aggregates.clone(),
                );
                self.above(&plan.input, group)
            }
            Plan::Slide(plan) => {
                let slide = Slide::new(&plan.windows);
                self.above(&plan.input, slide)
            }
            Plan::Distinct(plan) => {
                let distinct = Distinct::new(plan.driving, plan.compared.clone());
                self.above(&plan.input, distinct)
            }
            Plan::Sort(plan) => {
                let sort = Sort::new(plan.width, plan.descending.clone(), plan.driver.clone());
                self.above(&plan.input, sort)
            }
            Plan::Items(plan) => {
                let items = Items::new(plan);
                self.above(&plan.input, items)
            }
            Plan::Forest(plan) => {
                let forest = Forest::new(plan);
                self.above(&plan.input, forest)
            }
            Plan::GroupRank(plan) => {
                let rank = GroupRank::new(plan);
                self.above(&plan.input, rank)
            }
            Plan::Join(plan) => {
                let inputs = self.leaves(&plan.leaves);
                self.node(Join::new(plan), inputs)
            }
            Plan::Outer(plan) => {
                let inputs = self.leaves([&plan.left, &plan.right]);
                self.node(Outer::new(plan), inputs)
            }
        }
    }

    /// An operator with one input.
    fn above(&mut self, input: &Plan, operator: impl Operator + 'static) -> Feed {
        let input = self.add(input);
        self.node(operator, vec![input])
    }

    fn leaves<'p>(&mut self, leaves: impl IntoIterator<Item = &'p Leaf>) -> Vec<Feed> {
        let leaves = leaves.into_iter();
        leaves.filter_map(|leaf| self.leaf(leaf)).collect()
    }

    fn leaf(&mut self, leaf: &Leaf) -> Option<Feed> {
        match &leaf.source {
            LeafSource::Stream(plan, _) => Some(self.add(plan)),
            LeafSource::Table(_) => None,
        }
    }

    fn node(&mut self, operator: impl Operator + 'static, inputs: Vec<Feed>) -> Feed {
        let node = self.chain.nodes.len();
        self.chain.nodes.push(Node {
            operator: Box::new(operator),
            parent: None,
        });
        for (port, input) in inputs.into_iter().enumerate() {
            match input {
                Feed::Node(child) => self.chain.nodes[child].parent = Some((node, port)),
                Feed::Scan(stream, order) => self.chain.entries.push(Entry {
                    stream,
                    node,
                    port,
                    order,
                }),
            }
        }
        Feed::Node(node)
    }
}
