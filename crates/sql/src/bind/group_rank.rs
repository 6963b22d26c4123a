//! `TABLE(GROUP_RANK(CURSOR(query), 'by', 'rankName', sort, order, idleMs, max))`

use super::select::Planned;
use super::table_function::{Arguments, visible};
use crate::error::{Compiled, Issue};
use crate::plan::{GroupRankPlan, Plan};
use crate::types::SqlType;

/// The plan that ranks the rows of one ROWTIME.
///
/// Source: "GROUP_RANK" in the SQL Reference: the column of the rank is called "groupRank" whatever
/// the third argument says.
pub(super) fn group_rank(planned: Planned, arguments: &Arguments<'_>) -> Compiled<Planned> {
    let by = arguments.column(0, &planned.columns)?;
    arguments.text(1, "the name of the rank")?;
    let ranks_descending = descends(arguments, 2)?;
    let emits_descending = descends(arguments, 3)?;
    // Time moves by rows and bounds alone, so a group never waits for the idle time.
    arguments.number(4, 0..=i64::from(i32::MAX))?;
    let most = arguments.size(5, 1..=i64::from(i32::MAX), usize::MAX)?;

    let mut columns = planned.columns;
    columns.push(visible("groupRank", SqlType::Integer));
    let plan = GroupRankPlan {
        input: planned.plan,
        by,
        ranks_descending,
        emits_descending,
        most,
    };
    Ok(Planned {
        plan: Plan::GroupRank(Box::new(plan)),
        places: vec![arguments.at; columns.len()],
        columns,
        own_rowtime: None,
    })
}

fn descends(arguments: &Arguments<'_>, index: usize) -> Compiled<bool> {
    let text = arguments.text(index, "asc or desc")?;
    if text.eq_ignore_ascii_case("desc") {
        return Ok(true);
    }
    if text.eq_ignore_ascii_case("asc") {
        return Ok(false);
    }

    let place = index + 1;
    let message = format!("argument {place} after CURSOR is '{text}'; expected asc or desc");
    Err(Issue::mismatch(arguments.at, message))
}
