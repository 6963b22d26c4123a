//! The instant at which a function of time changes.

use crate::expr::{Clocks, Expr, Scope};
use crate::value::Value;

/// No window is longer than this: about 278 years, in milliseconds.
const LONGEST: i64 = 1 << 43;

/// The first instant, `now` or later, at which `function` (over column 0, the time) has another
/// value than `value`. `None` when that never happens. The function must be monotonic.
pub(crate) fn change_after(function: &Expr, value: &Value, now: i64) -> Option<i64> {
    if differs(function, value, now) {
        return Some(now);
    }

    let mut step: i64 = 1;
    while !differs(function, value, now.checked_add(step)?) {
        step *= 2;
        if step > LONGEST {
            return None;
        }
    }
    let (mut same, mut other) = (now + step / 2, now + step);
    while other - same > 1 {
        let middle = same + (other - same) / 2;
        if differs(function, value, middle) {
            other = middle;
        } else {
            same = middle;
        }
    }
    Some(other)
}

fn differs(function: &Expr, value: &Value, at: i64) -> bool {
    let row = [Value::Timestamp(at)];
    let clocks = Clocks {
        started: 0,
        row: at,
    };
    let scope = Scope {
        row: &row,
        clocks: &clocks,
    };
    function
        .eval(scope)
        .map_or(true, |found| !found.is_same(value))
}
