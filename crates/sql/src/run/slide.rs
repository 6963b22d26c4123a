//! Windowed functions: each row is emitted at once, with a value over the rows before it.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::aggregate::{Accumulator, AggregateCall};
use crate::expr::Expr;
use crate::plan::{Extent, WindowFunction, WindowPlan};
use crate::run::operator::{Context, Emit, Operator, Row, StateError, decode, encode, row_size};
use crate::value::{Evaluated, Value};

pub(crate) struct Slide {
    windows: Vec<Window>,
    made: Vec<Value>,
}

struct Window {
    plan: WindowPlan,
    state: WindowState,
}

#[derive(Default, Serialize, Deserialize)]
struct WindowState {
    partitions: BTreeMap<Vec<u8>, Partition>,
    /// With RANGE: time and partition of all rows, in order of arrival, so that partitions without
    /// new rows shrink as well.
    arrivals: VecDeque<(i64, Vec<u8>)>,
    size: usize,
}

#[derive(Default, Serialize, Deserialize)]
struct Partition {
    /// The argument's values, oldest first.
    values: VecDeque<Value>,
    accumulator: Option<Accumulator>,
}

impl Slide {
    pub(crate) fn new(windows: &[WindowPlan]) -> Self {
        Self {
            windows: windows
                .iter()
                .map(|plan| Window {
                    plan: plan.clone(),
                    state: WindowState::default(),
                })
                .collect(),
            made: Vec::new(),
        }
    }
}

impl Slide {
    /// Every window takes the row in, also after one has failed.
    fn push_results(&mut self, time: i64, arguments: Vec<Arguments>) -> Evaluated<()> {
        let mut result = Ok(());
        for (window, argument) in self.windows.iter_mut().zip(arguments) {
            match window.next(time, argument) {
                Ok(value) => self.made.push(value),
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

impl Operator for Slide {
    fn process(
        &mut self,
        _port: usize,
        row: Row<'_>,
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) -> Evaluated<()> {
        // All arguments first: a row that dies in one window is in none.
        let mut arguments = Vec::with_capacity(self.windows.len());
        for window in &self.windows {
            arguments.push(window.arguments(row.values(), context)?);
        }

        self.made.clear();
        self.made.extend_from_slice(row.values());
        self.push_results(row.time(), arguments)?;
        emit(context, Row::Made(&mut self.made));
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, StateError> {
        let states: Vec<&WindowState> = self.windows.iter().map(|window| &window.state).collect();
        encode(&states)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let states: Vec<WindowState> = decode(state)?;
        for (window, state) in self.windows.iter_mut().zip(states) {
            window.state = state;
        }
        Ok(())
    }

    fn state_size(&self) -> usize {
        self.windows.iter().map(|window| window.state.size).sum()
    }
}

/// The values of one row that a window needs.
struct Arguments {
    key: Vec<u8>,
    value: Value,
    default: Value,
}

impl Window {
    fn arguments(&self, row: &[Value], context: &Context<'_>) -> Evaluated<Arguments> {
        let of = |expression: Option<&Expr>| match expression {
            Some(expression) => expression
                .eval(context.scope(row))
                .map(|value| value.detached()),
            None => Ok(Value::Null),
        };
        let mut key = Vec::new();
        for expression in &self.plan.partition {
            expression.eval(context.scope(row))?.write_key(&mut key);
        }

        let (argument, default) = self.plan.function.operands();
        Ok(Arguments {
            key,
            value: of(argument)?,
            default: of(default)?,
        })
    }

    /// Takes the row in and gives the function's value.
    fn next(&mut self, time: i64, arguments: Arguments) -> Evaluated<Value> {
        if let Extent::Range(length) = self.plan.extent {
            self.expire(time.saturating_sub(length));
            self.state.arrivals.push_back((time, arguments.key.clone()));
            self.state.size += arguments.key.len() + 48;
        }

        let call = self.aggregate().cloned();
        self.state.size += value_size(&arguments.value);
        let partition = self.state.partitions.entry(arguments.key).or_default();
        partition.push(call.as_ref(), arguments.value);
        if let Extent::Rows(before) = self.plan.extent {
            while partition.values.len() > before.saturating_add(1) {
                let freed = partition.drop_oldest(call.as_ref());
                self.state.size = self.state.size.saturating_sub(freed);
            }
        }
        partition.result(&self.plan.function, arguments.default)
    }

    fn aggregate(&self) -> Option<&AggregateCall> {
        match &self.plan.function {
            WindowFunction::Aggregate(call) => Some(call),
            WindowFunction::Nth { .. } | WindowFunction::Lag { .. } => None,
        }
    }

    /// Drops all rows older than an instant, in all partitions.
    fn expire(&mut self, oldest: i64) {
        let call = self.aggregate().cloned();
        let state = &mut self.state;
        while state
            .arrivals
            .front()
            .is_some_and(|(time, _)| *time < oldest)
        {
            let Some((_, key)) = state.arrivals.pop_front() else {
                return;
            };
            let mut freed = key.len() + 48;
            if let Some(partition) = state.partitions.get_mut(&key) {
                freed += partition.drop_oldest(call.as_ref());
                if partition.values.is_empty() {
                    state.partitions.remove(&key);
                }
            }
            state.size = state.size.saturating_sub(freed);
        }
    }
}

impl WindowFunction {
    /// The argument and the default.
    fn operands(&self) -> (Option<&Expr>, Option<&Expr>) {
        match self {
            Self::Aggregate(call) => (call.argument.as_ref(), None),
            Self::Nth { argument, .. } => (Some(argument), None),
            Self::Lag {
                argument, default, ..
            } => (Some(argument), default.as_ref()),
        }
    }
}

fn value_size(value: &Value) -> usize {
    row_size(std::slice::from_ref(value))
}

impl Partition {
    fn push(&mut self, call: Option<&AggregateCall>, value: Value) {
        if let Some(call) = call {
            self.accumulator
                .get_or_insert_with(|| Accumulator::new(call))
                .add(call, &value);
        }
        self.values.push_back(value);
    }

    /// The bytes that became free.
    fn drop_oldest(&mut self, call: Option<&AggregateCall>) -> usize {
        let Some(value) = self.values.pop_front() else {
            return 0;
        };
        if let (Some(call), Some(accumulator)) = (call, &mut self.accumulator)
            && !accumulator.remove(call, &value)
        {
            *accumulator = Accumulator::new(call);
            self.values
                .iter()
                .for_each(|value| accumulator.add(call, value));
        }
        value_size(&value)
    }

    fn result(&self, function: &WindowFunction, default: Value) -> Evaluated<Value> {
        match function {
            WindowFunction::Aggregate(call) => match &self.accumulator {
                Some(accumulator) => accumulator.finish(call),
                None => Ok(Value::Null),
            },
            WindowFunction::Nth {
                number,
                from_last,
                ignore_nulls,
                ..
            } => {
                let kept = self
                    .values
                    .iter()
                    .filter(|value| !ignore_nulls || !value.is_null());
                let found = if *from_last {
                    kept.rev().nth(number - 1)
                } else {
                    let mut kept = kept;
                    kept.nth(number - 1)
                };
                Ok(found.cloned().unwrap_or(Value::Null))
            }
            WindowFunction::Lag { distance: 0, .. } => {
                Ok(self.values.back().cloned().unwrap_or(Value::Null))
            }
            WindowFunction::Lag {
                distance,
                ignore_nulls,
                ..
            } => {
                let before = self.values.iter().rev().skip(1);
                let mut kept = before.filter(|value| !ignore_nulls || !value.is_null());
                Ok(kept.nth(distance - 1).cloned().unwrap_or(default))
            }
        }
    }
}
