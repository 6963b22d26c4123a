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
        match self {
            Self::Scan(stream) => found.push(*stream),
            Self::Filter(input, _) | Self::Project(input, _) => input.add_scans(found),
            Self::UnionAll(left, right) => {
                left.add_scans(found);
                right.add_scans(found);
            }
            Self::Group(plan) => plan.input.add_scans(found),
            Self::Slide(plan) => plan.input.add_scans(found),
            Self::Distinct(plan) => plan.input.add_scans(found),
            Self::Sort(plan) => plan.input.add_scans(found),
            Self::Items(plan) => plan.input.add_scans(found),
            Self::Forest(plan) => plan.input.add_scans(found),
            Self::GroupRank(plan) => plan.input.add_scans(found),
            Self::Join(plan) => plan.leaves.iter().for_each(|leaf| leaf.add_scans(found)),
            Self::Outer(plan) => {
                plan.left.add_scans(found);
                plan.right.add_scans(found);
            }
        }
    }

    /// Whether every row made comes from one input row, at once: no state but the tables.
    pub(crate) fn is_stateless(&self) -> bool {
        match self {
            Self::Scan(_) => true,
            Self::Filter(input, _) | Self::Project(input, _) => input.is_stateless(),
            Self::UnionAll(left, right) => left.is_stateless() && right.is_stateless(),
            Self::Join(plan) => {
                let streams = plan.leaves.iter().filter_map(Leaf::stream);
                streams.clone().count() == 1 && streams.into_iter().all(Self::is_stateless)
            }
            Self::Outer(plan) => {
                plan.right.stream().is_none() && plan.left.stream().is_some_and(Self::is_stateless)
            }
            Self::Group(_)
            | Self::Slide(_)
            | Self::Distinct(_)
            | Self::Sort(_)
            | Self::Items(_)
            | Self::Forest(_)
            | Self::GroupRank(_) => false,
        }
    }
}

impl Leaf {
    pub(crate) fn stream(&self) -> Option<&Plan> {
        match &self.source {
            LeafSource::Stream(plan, _) => Some(plan),
            LeafSource::Table(_) => None,
        }
    }

    fn add_scans(&self, found: &mut Vec<usize>) {
        if let Some(plan) = self.stream() {
            plan.add_scans(found);
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

    // tidy: long because it lists every operator once
    fn add_lines(&self, streams: &[crate::catalog::Stream], lines: &mut Vec<String>) {
        match self {
            Self::Scan(stream) => lines.push(format!("reads \"{}\"", streams[*stream].name)),
            Self::Filter(input, _) | Self::Project(input, _) => input.add_lines(streams, lines),
            Self::UnionAll(left, right) => {
                left.add_lines(streams, lines);
                right.add_lines(streams, lines);
            }
            Self::Group(plan) => {
                plan.input.add_lines(streams, lines);
                lines.push(match &plan.closing {
                    Closing::Key(_, Driver::Time(_)) => {
                        "tumbling window: closes when ROWTIME moves on".to_owned()
                    }
                    Closing::Key(_, Driver::Rows) => {
                        "tumbling window: closes by the row that changes its time".to_owned()
                    }
                    Closing::Stagger(length) => format!("stagger window of {length} ms"),
                });
            }
            Self::Slide(plan) => {
                plan.input.add_lines(streams, lines);
                lines.extend(plan.windows.iter().map(|window| match window.extent {
                    Extent::Rows(rows) => format!("sliding window of {rows} rows before each"),
                    Extent::Range(length) => format!("sliding window of {length} ms"),
                }));
            }
            Self::Distinct(plan) => {
                plan.input.add_lines(streams, lines);
                lines.push("distinct rows".to_owned());
            }
            Self::Sort(plan) => {
                plan.input.add_lines(streams, lines);
                lines.push("sorted".to_owned());
            }
            Self::Items(plan) => {
                plan.input.add_lines(streams, lines);
                lines.push(format!("tumbling window of {} ms over items", plan.length));
            }
            Self::Forest(plan) => {
                plan.input.add_lines(streams, lines);
                let Shape { trees, sample, .. } = plan.shape;
                lines.push(format!("forest of {trees} trees over {sample} rows each"));
            }
            Self::GroupRank(plan) => {
                plan.input.add_lines(streams, lines);
                lines.push("ranked by instant".to_owned());
            }
            Self::Join(plan) => plan
                .leaves
                .iter()
                .for_each(|leaf| leaf.add_lines(streams, lines)),
            Self::Outer(plan) => {
                plan.left.add_lines(streams, lines);
                plan.right.add_lines(streams, lines);
            }
        }
    }
}

impl Leaf {
    fn add_lines(&self, streams: &[crate::catalog::Stream], lines: &mut Vec<String>) {
        match &self.source {
            LeafSource::Stream(plan, kept) => {
                plan.add_lines(streams, lines);
                lines.push(match kept {
                    Kept::Instant => "joined by the current row".to_owned(),
                    Kept::Range(length) => format!("joined over {length} ms"),
                    Kept::Rows(rows) => format!("joined over the last {rows} rows"),
                });
            }
            LeafSource::Table(table) => lines.push(format!("looks up \"{}\"", table.name)),
        }
    }
}
