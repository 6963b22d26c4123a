//! Fields of an event that match a rule together: fields within one array come from the same
//! element.

use std::collections::BTreeSet;

use crate::alternative::{Alternative, Value};
use crate::tree::Slot;

/// The elements of arrays that a field stands within: an array's number and the element's index,
/// from the outermost array to the innermost. Numbers ascend.
pub(crate) type Membership = Vec<(u32, u32)>;

/// A value with its place.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    pub(crate) value: Value<'a>,
    pub(crate) within: Membership,
}

/// The fields of an event, by the slot of their path.
pub(crate) type Fields<'a> = Vec<Vec<Field<'a>>>;

/// A rule: alternatives by slot, in the order of the paths.
pub(crate) type SlotRule = Vec<(Slot, Vec<Alternative>)>;

/// True if `fields` have values that match all of `rule` and stand in the same elements.
pub(crate) fn matches(rule: &SlotRule, fields: &Fields<'_>) -> bool {
    let mut states = BTreeSet::from([Membership::new()]);
    let mut later = rule.as_slice();

    while let Some(((slot, alternatives), rest)) = later.split_first() {
        later = rest;
        let found = fields.get(*slot).map(Vec::as_slice).unwrap_or_default();

        let used = |array: u32| {
            later
                .iter()
                .any(|(slot, _)| has_array(fields, *slot, array))
        };
        states = step(&states, alternatives, found, used);
        if states.is_empty() {
            return false;
        }
    }
    true
}

/// The memberships after one more path. Only arrays that are `used` later are kept, so that the
/// number of memberships stays small.
fn step(
    states: &BTreeSet<Membership>,
    alternatives: &[Alternative],
    found: &[Field<'_>],
    used: impl Fn(u32) -> bool,
) -> BTreeSet<Membership> {
    let mut next = BTreeSet::new();
    let mut add = |mut state: Membership| {
        state.retain(|(array, _)| used(*array));
        next.insert(state);
    };

    for field in found {
        let matches = alternatives
            .iter()
            .any(|alternative| alternative.matches(&field.value));
        if !matches {
            continue;
        }

        states
            .iter()
            .filter_map(|state| join(state, &field.within))
            .for_each(&mut add);
    }

    if alternatives.contains(&Alternative::Absent) {
        states
            .iter()
            .filter(|state| is_absent(found, state))
            .cloned()
            .for_each(add);
    }
    next
}

/// True if no field stands in the elements of `state`.
fn is_absent(found: &[Field<'_>], state: &Membership) -> bool {
    found
        .iter()
        .all(|field| join(state, &field.within).is_none())
}

fn has_array(fields: &Fields<'_>, slot: Slot, array: u32) -> bool {
    let mut fields = fields.get(slot).into_iter().flatten();
    fields.any(|field| field.within.iter().any(|(of, _)| *of == array))
}

/// The elements of both; `None` if they name two elements of one array.
fn join(one: &Membership, other: &Membership) -> Option<Membership> {
    let mut all = one.clone();
    for (array, element) in other {
        match all.iter().find(|(of, _)| of == array) {
            Some((_, same)) if same == element => {}
            Some(_) => return None,
            None => all.push((*array, *element)),
        }
    }
    all.sort_unstable();
    Some(all)
}
