//! GROUP BY with tumbling windows, and stagger windows.

#![allow(clippy::disallowed_types)]

// The order of this map is never seen: groups are emitted in order of their first row.
use std::collections::HashMap;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::aggregate::{Accumulator, AggregateCall};
use crate::bind::Driver;
use crate::expr::{Expr, Scope};
use crate::plan::Closing;
use crate::run::operator::{
    Context, Emit, Made, Operator, Row, StateError, decode, detached, encode, row_size,
};
use crate::run::time_step::change_after;
use crate::value::{Evaluated, Value};

/// The groups of the open window, or with stagger windows the open windows of all keys.
pub(crate) struct Group {
    keys: Vec<Expr>,
    closing: Closing,
    aggregates: Vec<AggregateCall>,
    state: GroupState,
    /// The number of each key's group, counted from the first that ever opened.
    places: HashMap<Box<[u8]>, usize>,
    /// The number of the first open group.
    first: usize,
    /// The row at hand: the key, the values of the key, and the arguments of the aggregates.
    key: Vec<u8>,
    values: Vec<Value>,
    arguments: Vec<Value>,
    size: usize,
}

#[derive(Default, Serialize, Deserialize)]
struct GroupState {
    groups: VecDeque<OpenGroup>,
    /// The next instant at which a window closes by time.
    deadline: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct OpenGroup {
    keys: Vec<Value>,
    accumulators: Vec<Accumulator>,
    /// The end of a stagger window.
    end: i64,
}

impl Group {
    pub(crate) fn new(keys: Vec<Expr>, closing: Closing, aggregates: Vec<AggregateCall>) -> Self {
        Self {
            keys,
            closing,
            aggregates,
            state: GroupState::default(),
            places: HashMap::new(),
            first: 0,
            key: Vec::new(),
            values: Vec::new(),
            arguments: Vec::new(),
            size: 0,
        }
    }

    /// Closes the open window when the key by which it closes has another value in this row.
    fn close_before(&mut self, time: i64, context: &mut Context<'_>, emit: &mut Emit<'_>) {
        let Closing::Key(index, _) = &self.closing else {
            return;
        };
        let open = self
            .state
            .groups
            .front()
            .and_then(|group| group.keys.get(*index));
        let changed = match (open, self.values.get(*index)) {
            (Some(open), Some(value)) => !open.is_same(value),
            _ => false,
        };
        if changed {
            self.close_all(time, context, emit);
        }
    }

    fn close_all(&mut self, at: i64, context: &mut Context<'_>, emit: &mut Emit<'_>) {
        let groups = std::mem::take(&mut self.state.groups);
        self.places.clear();
        self.first = 0;
        self.state.deadline = None;
        self.size = 0;

        for group in groups {
            self.emit_group(&group, at, context, emit);
        }
    }

    fn emit_group(
        &self,
        group: &OpenGroup,
        at: i64,
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) {
        let width = 1 + group.keys.len() + group.accumulators.len();
        let mut row = Vec::with_capacity(width);
        row.push(Value::Timestamp(at));
        row.extend_from_slice(&group.keys);

        match self.add_results(group, &mut row) {
            Ok(()) => {
                let made = Row::Made(&mut row);
                emit(context, made);
            }
            Err(error) => {
                let key = self.key_text(group);
                context.made.push(Made::Failure(error, Some(key)));
            }
        }
    }

    fn add_results(&self, group: &OpenGroup, row: &mut Vec<Value>) -> Evaluated<()> {
        for (accumulator, call) in group.accumulators.iter().zip(&self.aggregates) {
            let result = accumulator.finish(call)?;
            row.push(result);
        }
        Ok(())
    }

    /// The key of a group as a JSON array, for `error_stream`.
    fn key_text(&self, group: &OpenGroup) -> String {
        let mut text = String::from("[");
        for (index, (key, expression)) in group.keys.iter().zip(&self.keys).enumerate() {
            if index > 0 {
                text.push(',');
            }
            crate::output::write_json_value(key, &expression.sql_type, &mut text);
        }
        text.push(']');
        text
    }

    /// The group of the key at hand, opened when there is none.
    fn group_at(&mut self, time: i64) -> usize {
        if let Some(place) = self.places.get(self.key.as_slice()) {
            return *place - self.first;
        }

        let group = self.opened(time);
        self.size += self.group_size(&group);
        self.state.groups.push_back(group);

        let place = self.state.groups.len() - 1;
        let key = self.key.as_slice().into();
        self.places.insert(key, self.first + place);
        self.set_deadline(time);
        place
    }

    fn opened(&self, time: i64) -> OpenGroup {
        let end = match self.closing {
            Closing::Stagger(length) => time.saturating_add(length),
            Closing::Key(..) => 0,
        };
        let accumulators = self.aggregates.iter().map(Accumulator::new);

        OpenGroup {
            keys: detached(&self.values),
            accumulators: accumulators.collect(),
            end,
        }
    }

    /// Adds the arguments of a row to the group at `place`.
    fn add_to(&mut self, place: usize) {
        let Some(group) = self.state.groups.get_mut(place) else {
            return;
        };

        let calls = self.aggregates.iter().zip(&self.arguments);
        for (accumulator, (call, value)) in group.accumulators.iter_mut().zip(calls) {
            accumulator.add(call, value);
        }
    }

    fn set_deadline(&mut self, now: i64) {
        if self.state.deadline.is_some() {
            return;
        }
        let Some(first) = self.state.groups.front() else {
            return;
        };
        self.state.deadline = match &self.closing {
            // Windows of one length close in the order in which they opened.
            Closing::Stagger(_) => Some(first.end),
            Closing::Key(index, Driver::Time(function)) => first
                .keys
                .get(*index)
                .and_then(|value| change_after(function, value, now)),
            Closing::Key(_, Driver::Rows) => None,
        };
    }

    /// Takes out the first stagger window that ends at or before this instant.
    fn pop_ended(&mut self, at: i64) -> Option<OpenGroup> {
        let ended = self
            .state
            .groups
            .front()
            .is_some_and(|group| group.end <= at);
        let group = if ended {
            self.state.groups.pop_front()?
        } else {
            return None;
        };

        self.first += 1;
        self.places.remove(group_key(&group).as_slice());
        self.size = self.size.saturating_sub(self.group_size(&group));
        Some(group)
    }

    fn group_size(&self, group: &OpenGroup) -> usize {
        2 * row_size(&group.keys) + 64 * (1 + self.aggregates.len())
    }
}

fn group_key(group: &OpenGroup) -> Vec<u8> {
    let mut key = Vec::new();
    for value in &group.keys {
        value.write_key(&mut key);
    }
    key
}

impl Group {
    /// The keys and the arguments of one row.
    fn evaluate(&mut self, scope: Scope<'_>) -> Evaluated<()> {
        self.key.clear();
        self.values.clear();
        for key in &self.keys {
            let value = key.eval(scope)?.into_owned();
            value.write_key(&mut self.key);
            self.values.push(value);
        }

        self.arguments.clear();
        for call in &self.aggregates {
            let value = match &call.argument {
                Some(argument) => argument.eval(scope)?.into_owned(),
                None => Value::Null,
            };
            self.arguments.push(value);
        }
        Ok(())
    }
}

impl Operator for Group {
    fn process(
        &mut self,
        _port: usize,
        row: Row<'_>,
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) -> Evaluated<()> {
        self.evaluate(context.scope(row.values()))?;

        let time = row.time();
        self.close_before(time, context, emit);
        let place = self.group_at(time);
        self.add_to(place);
        Ok(())
    }

    fn deadline(&self) -> Option<i64> {
        self.state.deadline
    }

    fn fire(&mut self, at: i64, context: &mut Context<'_>, emit: &mut Emit<'_>) {
        if matches!(self.closing, Closing::Key(..)) {
            self.close_all(at, context, emit);
            return;
        }

        let mut closed = Vec::new();
        while let Some(group) = self.pop_ended(at) {
            closed.push(group);
        }
        self.state.deadline = None;
        self.set_deadline(at);
        for group in &closed {
            self.emit_group(group, at, context, emit);
        }
    }

    fn save(&self) -> Result<Vec<u8>, StateError> {
        encode(&self.state)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        self.state = decode(state)?;
        self.first = 0;
        self.size = self
            .state
            .groups
            .iter()
            .map(|group| self.group_size(group))
            .sum();
        let keys = self.state.groups.iter().enumerate();
        self.places = keys
            .map(|(place, group)| (group_key(group).into_boxed_slice(), place))
            .collect();
        Ok(())
    }

    fn state_size(&self) -> usize {
        self.size
    }
}
