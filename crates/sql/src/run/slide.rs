//! Windowed functions: each row is emitted at once, with a value over the rows before it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::aggregate::{Accumulator, AggregateCall};
use crate::expr::Expr;
use crate::plan::{Extent, WindowFunction, WindowPlan};
use crate::run::operator::{Context, Emit, Operator, Row, StateError, decode, encode, row_size};
use crate::value::{Evaluated, Value};

/// Bytes of a row in the order of arrival besides the key, about.
const ARRIVAL_SIZE: usize = 48;

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
            Some(expression) => {
                let value = expression.eval(context.scope(row))?;
                Ok(value.detached())
            }
            None => Ok(Value::Null),
        };

        let key = self.partition_key(row, context)?;
        let (argument, default) = self.plan.function.operands();
        Ok(Arguments {
            key,
            value: of(argument)?,
            default: of(default)?,
        })
    }

    fn partition_key(&self, row: &[Value], context: &Context<'_>) -> Evaluated<Vec<u8>> {
        let mut key = Vec::new();
        for expression in &self.plan.partition {
            let value = expression.eval(context.scope(row))?;
            value.write_key(&mut key);
        }
        Ok(key)
    }

    /// Takes the row in and gives the function's value.
    fn next(&mut self, time: i64, arguments: Arguments) -> Evaluated<Value> {
        if let Extent::Range(length) = self.plan.extent {
            self.expire(time.saturating_sub(length));
            self.note_arrival(time, &arguments.key);
        }

        let call = self.aggregate().cloned();
        let value = self.kept(time, arguments.value);
        self.state.size += value_size(&value);
        let partition = self.state.partitions.entry(arguments.key).or_default();
        partition.push(call.as_ref(), value);

        if let Extent::Rows(before) = self.plan.extent {
            let most = before.saturating_add(1);
            while partition.values.len() > most {
                let freed = partition.drop_oldest(call.as_ref());
                self.state.size = self.state.size.saturating_sub(freed);
            }
        }
        partition.result(&self.plan.function, arguments.default)
    }

    fn note_arrival(&mut self, time: i64, key: &[u8]) {
        self.state.size += key.len() + ARRIVAL_SIZE;
        let arrival = (time, key.to_vec());
        self.state.arrivals.push_back(arrival);
    }

    /// The value as the window keeps it: with the time where the function weighs by age.
    fn kept(&self, time: i64, value: Value) -> Value {
        match &self.plan.function {
            WindowFunction::ExponentialAverage { .. } => {
                let timed = [value, Value::Timestamp(time)];
                Value::Row(Arc::from(timed))
            }
            _ => value,
        }
    }

    fn aggregate(&self) -> Option<&AggregateCall> {
        match &self.plan.function {
            WindowFunction::Aggregate(call) => Some(call),
            _ => None,
        }
    }

    /// Drops all rows older than an instant, in all partitions.
    fn expire(&mut self, oldest: i64) {
        let call = self.aggregate().cloned();
        let state = &mut self.state;

        while let Some((time, key)) = state.arrivals.pop_front() {
            if time >= oldest {
                state.arrivals.push_front((time, key));
                return;
            }

            let mut freed = key.len() + ARRIVAL_SIZE;
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
            Self::Aggregate(call) => {
                let argument = call.argument.as_ref();
                (argument, None)
            }
            Self::Nth { argument, .. } | Self::ExponentialAverage { argument, .. } => {
                (Some(argument), None)
            }
            Self::Lag {
                argument, default, ..
            } => (Some(argument), default.as_ref()),
        }
    }
}

fn value_size(value: &Value) -> usize {
    let inner = match value {
        Value::Row(fields) => row_size(fields),
        _ => 0,
    };
    inner + row_size(std::slice::from_ref(value))
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
                let found = self.nth(*number, *from_last, *ignore_nulls);
                Ok(found.cloned().unwrap_or(Value::Null))
            }
            WindowFunction::Lag {
                distance,
                ignore_nulls,
                ..
            } => {
                let found = self.before(*distance, *ignore_nulls);
                Ok(found.unwrap_or(default))
            }
            WindowFunction::ExponentialAverage { half_life, .. } => {
                Ok(self.exponential_average(*half_life))
            }
        }
    }

    fn nth(&self, number: usize, from_last: bool, ignore_nulls: bool) -> Option<&Value> {
        let mut kept = self.counted(ignore_nulls);
        if from_last {
            kept.nth_back(number - 1)
        } else {
            kept.nth(number - 1)
        }
    }

    fn counted(&self, ignore_nulls: bool) -> impl DoubleEndedIterator<Item = &Value> {
        self.values
            .iter()
            .filter(move |value| !ignore_nulls || !value.is_null())
    }

    /// The value so many rows before the last one.
    fn before(&self, distance: usize, ignore_nulls: bool) -> Option<Value> {
        let Some(rows_between) = distance.checked_sub(1) else {
            return self.values.back().cloned();
        };

        self.values
            .iter()
            .rev()
            .skip(1)
            .filter(|value| !ignore_nulls || !value.is_null())
            .nth(rows_between)
            .cloned()
    }

    /// The average of timed values, weighted by their ages against the newest.
    #[allow(clippy::cast_precision_loss)]
    fn exponential_average(&self, half_life: i64) -> Value {
        let mut now = None;
        let mut sum = 0.0;
        let mut weights = 0.0;

        for kept in self.values.iter().rev() {
            let Value::Row(timed) = kept else {
                continue;
            };
            let [value, time] = timed.as_ref() else {
                continue;
            };
            let age = *now.get_or_insert(time.integer()) - time.integer();
            if value.is_null() {
                continue;
            }

            let half_lives = age as f64 / half_life as f64;
            let weight = (-half_lives).exp2();
            sum += weight * value.double();
            weights += weight;
        }

        mean(sum, weights)
    }
}

fn mean(sum: f64, weights: f64) -> Value {
    if weights > 0.0 {
        Value::Double(sum / weights)
    } else {
        Value::Null
    }
}
