//! Fields of an event that match a rule together: fields within one array come from the same element.

use std::collections::BTreeSet;

use crate::alternative::{Alternative, Value};
use crate::tree::Slot;

/// The elements of arrays that a field stands within: an array's number and the element's index, from
/// the outermost array to the innermost. Numbers ascend.
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
    for (i, (slot, alternatives)) in rule.iter().enumerate() {
        let found = fields.get(*slot).map_or(&[][..], Vec::as_slice);
        let later = &rule[i + 1..];
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

/// The memberships after one more path. Only arrays that are `used` later are kept, so that the number
/// of memberships stays small.
fn step(
    states: &BTreeSet<Membership>,
    alternatives: &[Alternative],
    found: &[Field<'_>],
    used: impl Fn(u32) -> bool,
) -> BTreeSet<Membership> {
    let matching: Vec<&Field<'_>> = found
        .iter()
        .filter(|field| alternatives.iter().any(|one| one.matches(&field.value)))
        .collect();
    let may_be_absent = alternatives.contains(&Alternative::Absent);

    let mut next = BTreeSet::new();
    let mut add = |mut state: Membership| {
        state.retain(|(array, _)| used(*array));
        next.insert(state);
    };
    for state in states {
        let joined = matching
            .iter()
            .filter_map(|field| join(state, &field.within));
        joined.for_each(&mut add);
        let is_absent = || {
            !found
                .iter()
                .any(|field| join(state, &field.within).is_some())
        };
        if may_be_absent && is_absent() {
            add(state.clone());
        }
    }
    next
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
