//! Plans: trees of operators. Column 0 of every row is the ROWTIME.

use std::sync::Arc;

use crate::aggregate::AggregateCall;
use crate::bind::Driver;
use crate::expr::Expr;
use crate::forest::Shape;
use crate::table::ReferenceTable;

#[derive(Debug, Clone)]
pub(crate) enum Plan {
    /// The rows of a stream.
    Scan(usize),
    Filter(Box<Plan>, Expr),
    /// New columns; the first is the ROWTIME.
    Project(Box<Plan>, Vec<Expr>),
    UnionAll(Box<Plan>, Box<Plan>),
    Group(Box<GroupPlan>),
    Slide(Box<SlidePlan>),
    Distinct(Box<DistinctPlan>),
    Sort(Box<SortPlan>),
    Join(Box<JoinPlan>),
    Outer(Box<OuterPlan>),
    Items(Box<ItemsPlan>),
    Forest(Box<ForestPlan>),
    GroupRank(Box<GroupRankPlan>),
}

/// GROUP BY and WINDOWED BY STAGGER. Rows made: ROWTIME, keys, aggregates.
#[derive(Debug, Clone)]
pub(crate) struct GroupPlan {
    pub(crate) input: Plan,
    pub(crate) keys: Vec<Expr>,
    pub(crate) closing: Closing,
    pub(crate) aggregates: Vec<AggregateCall>,
}

/// The end of a group's window.
#[derive(Debug, Clone)]
pub(crate) enum Closing {
    /// When the key with this number changes.
    Key(usize, Driver),
    /// So many milliseconds after the key's first row.
    Stagger(i64),
}

/// Windowed functions. Rows made: the input's columns, then a column for each function.
#[derive(Debug, Clone)]
pub(crate) struct SlidePlan {
    pub(crate) input: Plan,
    pub(crate) windows: Vec<WindowPlan>,
}

#[derive(Debug, Clone)]
pub(crate) struct WindowPlan {
    pub(crate) partition: Vec<Expr>,
    pub(crate) extent: Extent,
    pub(crate) function: WindowFunction,
}

/// The rows that a window holds up to the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// So many rows before the current one.
    Rows(usize),
    /// Rows of so many milliseconds back.
    Range(i64),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WindowFunction {
    Aggregate(AggregateCall),
    Nth {
        argument: Expr,
        /// From 1.
        number: usize,
        from_last: bool,
        ignore_nulls: bool,
    },
    Lag {
        argument: Expr,
        distance: usize,
        default: Option<Expr>,
        ignore_nulls: bool,
    },
    /// An average in which a row's weight halves with every so many milliseconds.
    ExponentialAverage {
        argument: Expr,
        half_life: i64,
    },
}

/// SELECT DISTINCT: the first row of each combination of values, until the driving column changes.
#[derive(Debug, Clone)]
pub(crate) struct DistinctPlan {
    pub(crate) input: Plan,
    pub(crate) driving: usize,
    pub(crate) compared: Vec<usize>,
}

/// ORDER BY. The keys are the last columns of the input and are left out of the rows made.
#[derive(Debug, Clone)]
pub(crate) struct SortPlan {
    pub(crate) input: Plan,
    /// The number of columns that stay.
    pub(crate) width: usize,
    /// For each key, whether descending.
    pub(crate) descending: Vec<bool>,
    pub(crate) driver: Driver,
}

/// An inner join of any number of operands. Rows made: ROWTIME, then the columns of all operands.
#[derive(Debug, Clone)]
pub(crate) struct JoinPlan {
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) predicates: Vec<Expr>,
    /// The number of columns made.
    pub(crate) width: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) source: LeafSource,
    pub(crate) offset: usize,
    pub(crate) width: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum LeafSource {
    Stream(Plan, Kept),
    Table(Arc<ReferenceTable>),
}

/// The rows of a join's operand that take part besides the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Rows of the instant that is processed.
    Instant,
    /// Rows of so many milliseconds back.
    Range(i64),
    /// The last rows, so many.
    Rows(usize),
}

/// An outer join of two operands.
#[derive(Debug, Clone)]
pub(crate) struct OuterPlan {
    pub(crate) left: Leaf,
    pub(crate) right: Leaf,
    pub(crate) keeps_left: bool,
    pub(crate) keeps_right: bool,
    pub(crate) condition: Option<Expr>,
    pub(crate) width: usize,
}

/// TOP_K_ITEMS_TUMBLING and COUNT_DISTINCT_ITEMS_TUMBLING.
#[derive(Debug, Clone)]
pub(crate) struct ItemsPlan {
    pub(crate) input: Plan,
    pub(crate) column: usize,
    /// The column's type, for the text of an item.
    pub(crate) sql_type: crate::types::SqlType,
    /// The number of most frequent items; `None` counts the distinct ones.
    pub(crate) most: Option<usize>,
    /// Window length in milliseconds.
    pub(crate) length: i64,
}

/// RANDOM_CUT_FOREST. Rows made: the input's columns, the score, and the explanation if one is
/// wanted.
#[derive(Debug, Clone)]
pub(crate) struct ForestPlan {
    pub(crate) input: Plan,
    pub(crate) measured: Vec<Measured>,
    /// A point has the columns of one row or of several consecutive ones. So many points as a tree
    /// samples are learned before the first score.
    pub(crate) shape: Shape,
    pub(crate) explanation: Explanation,
}

/// A column that counts for the score.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) column: usize,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Explanation {
    None,
    /// The share of each column in the score.
    Scores,
    /// Shares, and whether the value is high or low.
    Directions,
}

/// GROUP_RANK. Rows made: the input's columns, then the rank.
#[derive(Debug, Clone)]
pub(crate) struct GroupRankPlan {
    pub(crate) input: Plan,
    pub(crate) by: usize,
    pub(crate) ranks_descending: bool,
    pub(crate) emits_descending: bool,
    /// Rows of a group at most.
    pub(crate) most: usize,
}

impl Plan {
    /// The streams that the plan reads, from left to right, with repetitions.
    pub(crate) fn scans(&self) -> Vec<usize> {
        let mut found = Vec::new();
        self.add_scans(&mut found);
        found
    }

    fn add_scans(&self, found: &mut Vec<usize>) {
        if let Self::Scan(stream) = self {
            found.push(*stream);
        }
        for input in self.inputs() {
            input.add_scans(found);
        }
    }

    /// The plans right below, from left to right.
    pub(crate) fn inputs(&self) -> Vec<&Plan> {
        match self {
            Self::Scan(_) => Vec::new(),
            Self::Filter(input, _) | Self::Project(input, _) => vec![input],
            Self::UnionAll(left, right) => vec![left, right],
            Self::Group(plan) => vec![&plan.input],
            Self::Slide(plan) => vec![&plan.input],
            Self::Distinct(plan) => vec![&plan.input],
            Self::Sort(plan) => vec![&plan.input],
            Self::Items(plan) => vec![&plan.input],
            Self::Forest(plan) => vec![&plan.input],
            Self::GroupRank(plan) => vec![&plan.input],
            Self::Join(plan) => {
                let leaves = plan.leaves.iter();
                leaves.filter_map(Leaf::stream).collect()
            }
            Self::Outer(plan) => {
                let leaves = [&plan.left, &plan.right].into_iter();
                leaves.filter_map(Leaf::stream).collect()
            }
        }
    }

    /// Whether every row made comes from one input row, at once: no state but the tables.
    pub(crate) fn is_stateless(&self) -> bool {
        let keeps_nothing = match self {
            Self::Scan(_) | Self::Filter(..) | Self::Project(..) | Self::UnionAll(..) => true,
            Self::Join(_) => {
                let inputs = self.inputs();
                inputs.len() == 1
            }
            Self::Outer(plan) => plan.right.stream().is_none() && plan.left.stream().is_some(),
            Self::Group(_)
            | Self::Slide(_)
            | Self::Distinct(_)
            | Self::Sort(_)
            | Self::Items(_)
            | Self::Forest(_)
            | Self::GroupRank(_) => false,
        };

        keeps_nothing && self.inputs().into_iter().all(Self::is_stateless)
    }
}

impl Leaf {
    pub(crate) fn stream(&self) -> Option<&Plan> {
        match &self.source {
            LeafSource::Stream(plan, _) => Some(plan),
            LeafSource::Table(_) => None,
        }
    }
}

impl Plan {
    /// The windows, joins and sources of the plan, a line each, for people.
    pub(crate) fn describe(&self, streams: &[crate::catalog::Stream]) -> Vec<String> {
        let mut lines = Vec::new();
        self.add_lines(streams, &mut lines);
        lines
    }

    fn add_lines(&self, streams: &[crate::catalog::Stream], lines: &mut Vec<String>) {
        match self {
            Self::Join(plan) => {
                for leaf in &plan.leaves {
                    leaf.add_lines(streams, lines);
                }
                return;
            }
            Self::Outer(plan) => {
                plan.left.add_lines(streams, lines);
                plan.right.add_lines(streams, lines);
                return;
            }
            _ => {}
        }

        for input in self.inputs() {
            input.add_lines(streams, lines);
        }
        lines.extend(self.own_lines(streams));
    }

    /// The lines of the operator itself.
    fn own_lines(&self, streams: &[crate::catalog::Stream]) -> Vec<String> {
        let line = match self {
            Self::Scan(stream) => {
                let name = &streams[*stream].name;
                format!("reads \"{name}\"")
            }
            Self::Group(plan) => plan.closing.line(),
            Self::Slide(plan) => {
                let lines = plan.windows.iter().map(|window| window.extent.line());
                return lines.collect();
            }
            Self::Distinct(_) => "distinct rows".to_owned(),
            Self::Sort(_) => "sorted".to_owned(),
            Self::Items(plan) => format!("tumbling window of {} ms over items", plan.length),
            Self::Forest(plan) => {
                let Shape { trees, sample, .. } = plan.shape;
                format!("forest of {trees} trees over {sample} rows each")
            }
            Self::GroupRank(_) => "ranked by instant".to_owned(),
            Self::Filter(..)
            | Self::Project(..)
            | Self::UnionAll(..)
            | Self::Join(_)
            | Self::Outer(_) => return Vec::new(),
        };
        vec![line]
    }
}

impl Closing {
    fn line(&self) -> String {
        match self {
            Self::Key(_, Driver::Time(_)) => {
                "tumbling window: closes when ROWTIME moves on".to_owned()
            }
            Self::Key(_, Driver::Rows) => {
                "tumbling window: closes by the row that changes its time".to_owned()
            }
            Self::Stagger(length) => format!("stagger window of {length} ms"),
        }
    }
}

impl Extent {
    fn line(self) -> String {
        match self {
            Self::Rows(rows) => format!("sliding window of {rows} rows before each"),
            Self::Range(length) => format!("sliding window of {length} ms"),
        }
    }
}

impl Kept {
    fn line(self) -> String {
        match self {
            Self::Instant => "joined by the current row".to_owned(),
            Self::Range(length) => format!("joined over {length} ms"),
            Self::Rows(rows) => format!("joined over the last {rows} rows"),
        }
    }
}

impl Leaf {
    fn add_lines(&self, streams: &[crate::catalog::Stream], lines: &mut Vec<String>) {
        match &self.source {
            LeafSource::Stream(plan, kept) => {
                plan.add_lines(streams, lines);
                lines.push(kept.line());
            }
            LeafSource::Table(table) => {
                let line = format!("looks up \"{}\"", table.name);
                lines.push(line);
            }
        }
    }
}
