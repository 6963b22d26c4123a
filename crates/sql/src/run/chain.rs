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
            builder.node(Box::new(Merge), vec![last]);
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
        let (operator, inputs): (Box<dyn Operator>, Vec<Feed>) = match plan {
            Plan::Scan(stream) => {
                self.scans += 1;
                return Feed::Scan(*stream, self.scans);
            }
            Plan::Filter(input, condition) => {
                let input = self.add(input);
                (Box::new(Filter(condition.clone())), vec![input])
            }
            Plan::Project(input, columns) => {
                let input = self.add(input);
                (Box::new(Project::new(columns.clone())), vec![input])
            }
            Plan::UnionAll(left, right) => (Box::new(Merge), vec![self.add(left), self.add(right)]),
            Plan::Group(plan) => {
                let group = Group::new(
                    plan.keys.clone(),
                    plan.closing.clone(),
                    plan.aggregates.clone(),
                );
                (Box::new(group), vec![self.add(&plan.input)])
            }
            Plan::Slide(plan) => {
                let input = self.add(&plan.input);
                (Box::new(Slide::new(&plan.windows)), vec![input])
            }
            Plan::Distinct(plan) => {
                let distinct = Distinct::new(plan.driving, plan.compared.clone());
                (Box::new(distinct), vec![self.add(&plan.input)])
            }
            Plan::Sort(plan) => {
                let sort = Sort::new(plan.width, plan.descending.clone(), plan.driver.clone());
                (Box::new(sort), vec![self.add(&plan.input)])
            }
            Plan::Items(plan) => {
                let input = self.add(&plan.input);
                (Box::new(Items::new(plan)), vec![input])
            }
            Plan::Forest(plan) => {
                let input = self.add(&plan.input);
                (Box::new(Forest::new(plan)), vec![input])
            }
            Plan::GroupRank(plan) => {
                let input = self.add(&plan.input);
                (Box::new(GroupRank::new(plan)), vec![input])
            }
            Plan::Join(plan) => {
                let inputs = self.leaves(&plan.leaves);
                (Box::new(Join::new(plan)), inputs)
            }
            Plan::Outer(plan) => {
                let inputs = [&plan.left, &plan.right]
                    .into_iter()
                    .filter_map(|leaf| self.leaf(leaf))
                    .collect();
                (Box::new(Outer::new(plan)), inputs)
            }
        };
        Feed::Node(self.node(operator, inputs))
    }

    fn leaves(&mut self, leaves: &[Leaf]) -> Vec<Feed> {
        leaves.iter().filter_map(|leaf| self.leaf(leaf)).collect()
    }

    fn leaf(&mut self, leaf: &Leaf) -> Option<Feed> {
        match &leaf.source {
            LeafSource::Stream(plan, _) => Some(self.add(plan)),
            LeafSource::Table(_) => None,
        }
    }

    fn node(&mut self, operator: Box<dyn Operator>, inputs: Vec<Feed>) -> usize {
        let node = self.chain.nodes.len();
        self.chain.nodes.push(Node {
            operator,
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
        node
    }
}
