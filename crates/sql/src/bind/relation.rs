//! FROM: streams, tables, subqueries and joins.

use std::collections::BTreeSet;

use super::expression::{Binder, Stage, boolean, compare, want_comparable};
use super::scope::{NameScope, ScopeColumn, ScopeRelation, unknown_column};
use super::select::Planner;
use super::window::{extent, specification};
use crate::catalog::{Column, ERROR_STREAM, METADATA, Stream, StreamRole};
use crate::error::{Compiled, ErrorClass, Issue};
use crate::expr::{Accepts, Expr, ExprKind};
use crate::plan::{Extent, JoinPlan, Kept, Leaf, LeafSource, OuterPlan, Plan};
use crate::table::Lookup;
use crate::text::ast::{
    Join, JoinCondition, JoinKind, Name, Operand, OperandSource, Query, QueryBody, Relation,
    RelationKind, Select, SelectItem, WindowSpec,
};
use crate::types::SqlType;

/// The named windows of a SELECT.
type Named<'q> = &'q [(Name, WindowSpec)];

/// One or more operands of FROM before they are joined.
struct Part {
    leaves: Vec<PartLeaf>,
    predicates: Vec<Expr>,
    merged: Vec<String>,
}

struct PartLeaf {
    source: LeafSource,
    /// The relations whose columns the leaf has, with offsets inside of the leaf.
    relations: Vec<ScopeRelation>,
    width: usize,
}

impl Planner<'_> {
    /// The plan and the scope of FROM.
    pub(super) fn relation(
        &mut self,
        relation: &Relation,
        named: Named<'_>,
    ) -> Compiled<(Plan, NameScope)> {
        let part = self.part(relation, named)?;
        refuse_repeated_aliases(&part, relation.at)?;
        let scope = part.scope();
        let mut leaves = part.leaves;
        if leaves.len() == 1 {
            return single(leaves.remove(0), scope, relation.at);
        }

        if !have_stream(&leaves) {
            return Err(Issue::unsupported(relation.at, "a join without a stream"));
        }
        let plan = join_plan(leaves, part.predicates, scope.width());
        Ok((plan, scope))
    }

    fn part(&mut self, relation: &Relation, named: Named<'_>) -> Compiled<Part> {
        match &relation.kind {
            RelationKind::Operand(operand) => self.operand(operand, relation.at, named),
            RelationKind::Join(join) => self.join(join, relation.at, named),
        }
    }

    fn join(&mut self, join: &Join, at: u32, named: Named<'_>) -> Compiled<Part> {
        let left = self.part(&join.left, named);
        let right = self.part(&join.right, named)?;
        let left = left?;
        if join.kind != JoinKind::Inner {
            return self.outer_join(join, left, right, at);
        }

        let mut part = left.beside(right);
        if let Some(condition) = self.condition(&join.condition, &mut part, at)? {
            part.predicates.push(condition);
        }
        Ok(part)
    }

    /// The condition over the columns of both sides.
    fn condition(
        &mut self,
        condition: &JoinCondition,
        part: &mut Part,
        at: u32,
    ) -> Compiled<Option<Expr>> {
        match condition {
            JoinCondition::None => Ok(None),
            JoinCondition::On(condition) => {
                let scope = part.scope();
                let mut binder = Binder::new(self.catalog, &scope, Stage::Rows("ON"));
                let bound = binder.bind_condition(condition);
                self.issues.append(&mut binder.issues);
                bound.map(Some)
            }
            JoinCondition::Using(names) => {
                let condition = self.using(names, part, at);
                condition.map(Some)
            }
        }
    }

    fn using(&mut self, names: &[Name], part: &mut Part, at: u32) -> Compiled<Expr> {
        let scope = part.scope();
        let mut equal: Option<Expr> = None;

        for name in names {
            let (left, right) = shared_columns(&scope, name)?;
            want_comparable(&left, &right, at)?;

            let this = compare(Accepts::Equal, left, right);
            equal = Some(match equal {
                Some(before) => both(before, this),
                None => this,
            });
            part.merged.push(name.text.clone());
        }
        equal.ok_or_else(|| Issue::new(ErrorClass::Syntax, at, "USING wants a column"))
    }

    fn outer_join(&mut self, join: &Join, left: Part, right: Part, at: u32) -> Compiled<Part> {
        let mut both = left.into_one().beside(right.into_one());
        let condition = self.condition(&join.condition, &mut both, at)?;
        let scope = both.scope();
        let (Some(right), Some(left)) = (both.leaves.pop(), both.leaves.pop()) else {
            return Err(Issue::unsupported(at, "this outer join"));
        };

        let right_offset = 1 + left.width;
        let width = scope.width();
        let plan = OuterPlan {
            left: left.at_offset(1),
            right: right.at_offset(right_offset),
            keeps_left: join.kind != JoinKind::Right,
            keeps_right: join.kind != JoinKind::Left,
            condition,
            width,
        };
        refuse_kept_table(&plan.left, plan.keeps_left, at)?;
        refuse_kept_table(&plan.right, plan.keeps_right, at)?;

        let plan = Plan::Outer(Box::new(plan));
        let leaf = PartLeaf {
            source: LeafSource::Stream(plan, Kept::Instant),
            relations: scope.relations,
            width,
        };
        Ok(Part {
            leaves: vec![leaf],
            predicates: Vec::new(),
            merged: both.merged,
        })
    }

    fn operand(&mut self, operand: &Operand, at: u32, named: Named<'_>) -> Compiled<Part> {
        let kept = match &operand.over {
            Some(over) => {
                let specification = specification(named, over)?;
                self.kept(specification)?
            }
            None => Kept::Instant,
        };

        let (source, mut relation) = self.operand_source(&operand.source, kept)?;
        if let Some(alias) = &operand.alias {
            relation.alias.clone_from(&alias.text);
        }
        rename_columns(&mut relation.columns, &operand.columns, at)?;

        Ok(Part::of(source, relation))
    }

    fn operand_source(
        &mut self,
        source: &OperandSource,
        kept: Kept,
    ) -> Compiled<(LeafSource, ScopeRelation)> {
        let planned = match source {
            OperandSource::Stream(name) => return self.named_source(name, kept),
            OperandSource::Query(query) => self.query(query)?,
            OperandSource::Function(function) => self.table_function(function)?,
        };

        let source = LeafSource::Stream(planned.plan, kept);
        Ok((source, at_start(String::new(), planned.columns)))
    }

    fn kept(&mut self, spec: &WindowSpec) -> Compiled<Kept> {
        if let Some(first) = spec.partition.first() {
            let construct = "PARTITION BY in a join's window";
            return Err(Issue::unsupported(first.at, construct));
        }

        let scope = NameScope::default();
        let mut binder = Binder::new(self.catalog, &scope, Stage::Rows("OVER"));
        match extent(&mut binder, spec)? {
            Extent::Rows(rows) => Ok(Kept::Rows(rows)),
            Extent::Range(length) => Ok(Kept::Range(length)),
        }
    }

    fn named_source(&self, name: &Name, kept: Kept) -> Compiled<(LeafSource, ScopeRelation)> {
        refuse_error_stream(name)?;
        let alias = name.text.clone();
        if let Some((index, stream)) = self.catalog.stream(&name.text) {
            let source = LeafSource::Stream(Plan::Scan(index), kept);
            let mut relation = at_start(alias, stream_columns(stream));
            relation.broken = stream.broken;
            return Ok((source, relation));
        }
        if let Some(table) = self.catalog.table(&name.text) {
            let source = LeafSource::Table(table.clone());
            let relation = at_start(alias, table_columns(&table.columns));
            return Ok((source, relation));
        }

        let known = self.catalog.relation_names();
        let what = "at this point there is no stream or table";
        Err(Issue::unknown(ErrorClass::UnknownStream, name, what, known))
    }
}

impl Part {
    /// A part of one leaf with one relation.
    fn of(source: LeafSource, relation: ScopeRelation) -> Self {
        let leaf = PartLeaf {
            source,
            width: relation.columns.len(),
            relations: vec![relation],
        };

        Self {
            leaves: vec![leaf],
            predicates: Vec::new(),
            merged: Vec::new(),
        }
    }
}

fn have_stream(leaves: &[PartLeaf]) -> bool {
    let mut sources = leaves.iter().map(|leaf| &leaf.source);
    sources.any(|source| matches!(source, LeafSource::Stream(..)))
}

fn at_start(alias: String, columns: Vec<ScopeColumn>) -> ScopeRelation {
    ScopeRelation {
        alias,
        columns,
        offset: 0,
        broken: false,
    }
}

fn both(left: Expr, right: Expr) -> Expr {
    let (left, right) = (Box::new(left), Box::new(right));
    boolean(ExprKind::And(left, right))
}

/// The first and the last column of a name that at least two relations have.
fn shared_columns(scope: &NameScope, name: &Name) -> Compiled<(Expr, Expr)> {
    let relations = scope.relations.iter();
    let mut sides: Vec<Expr> = relations
        .filter_map(|relation| column_named(relation, name))
        .collect();

    let last = sides.pop();
    match (sides.into_iter().next(), last) {
        (Some(left), Some(right)) => Ok((left, right)),
        _ => {
            let columns = scope
                .relations
                .iter()
                .flat_map(|relation| &relation.columns);
            let known = columns.map(|column| column.name.as_str());
            Err(unknown_column(name, known))
        }
    }
}

fn column_named(relation: &ScopeRelation, name: &Name) -> Option<Expr> {
    let mut columns = relation.columns.iter();
    let index = columns.position(|column| column.name == name.text)?;

    let sql_type = relation.columns[index].sql_type.clone();
    Some(Expr::column(relation.offset + index, sql_type))
}

fn refuse_error_stream(name: &Name) -> Compiled<()> {
    if name.text.eq_ignore_ascii_case(ERROR_STREAM) {
        let message = "error_stream can't be read by SQL; expected it as an output only";
        return Err(Issue::new(ErrorClass::ReservedName, name.at, message));
    }
    Ok(())
}

impl Binder<'_> {
    /// The values of `IN (SELECT …)`, or the rows of EXISTS, over a reference table.
    pub(super) fn bind_lookup(
        &mut self,
        query: &Query,
        value: Option<&Expr>,
        at: u32,
    ) -> Compiled<Lookup> {
        let Some((select, operand, name)) = plain_select(query) else {
            return Err(subquery_of_stream(at));
        };
        let Some(table) = self.catalog.table(&name.text) else {
            return Err(self.no_table(name, at));
        };

        let alias = operand.alias.as_ref().unwrap_or(name);
        let columns = table_columns(&table.columns);
        let scope = NameScope::of_query(alias.text.clone(), columns);
        let mut inner = Binder::new(self.catalog, &scope, Stage::Rows("a subquery"));
        let filter = match &select.filter {
            Some(filter) => Some(inner.bind_condition(filter)?),
            None => None,
        };

        let column = match value {
            Some(value) => {
                let found = lookup_column(&mut inner, &select.items, at)?;
                want_comparable(value, &found, at)?;
                Some(found)
            }
            None => None,
        };
        Ok(Lookup::new(table, filter.as_ref(), column.as_ref()))
    }

    fn no_table(&self, name: &Name, at: u32) -> Issue {
        if self.catalog.stream(&name.text).is_some() {
            return subquery_of_stream(at);
        }

        let known = self.catalog.relation_names();
        let class = ErrorClass::UnknownStream;
        Issue::unknown(class, name, "there is no table", known)
    }
}

fn subquery_of_stream(at: u32) -> Issue {
    Issue::unsupported(at, "a subquery over a stream inside an expression")
}

/// A SELECT from one named relation, without groups.
fn plain_select(query: &Query) -> Option<(&Select, &Operand, &Name)> {
    let QueryBody::Select(select) = &query.body else {
        return None;
    };
    let RelationKind::Operand(operand) = &select.from.kind else {
        return None;
    };
    let OperandSource::Stream(name) = &operand.source else {
        return None;
    };

    let is_plain = select.grouping.is_none() && select.having.is_none();
    is_plain.then_some((select, operand, name))
}

fn lookup_column(binder: &mut Binder<'_>, items: &[SelectItem], at: u32) -> Compiled<Expr> {
    match items {
        [SelectItem::Expression { value, .. }] => binder.bind(value),
        _ => {
            let message = "IN (SELECT …) wants one column";
            Err(Issue::new(ErrorClass::ColumnCount, at, message))
        }
    }
}

/// The columns of a stream's rows: ROWTIME, the declared ones, and for the input stream its
/// metadata.
pub(super) fn stream_columns(stream: &Stream) -> Vec<ScopeColumn> {
    let mut columns = vec![ScopeColumn::rowtime()];
    columns.extend(stream.columns.iter().map(visible));
    if stream.role == StreamRole::Input {
        columns.extend(METADATA.into_iter().map(|(name, sql_type)| ScopeColumn {
            name: name.to_owned(),
            sql_type,
            hidden: true,
            driver: None,
        }));
    }
    columns
}

/// The columns of a table's rows. A table has no time: the first column is an unused NULL.
fn table_columns(columns: &[Column]) -> Vec<ScopeColumn> {
    let unused = ScopeColumn {
        name: String::new(),
        sql_type: SqlType::Timestamp,
        hidden: true,
        driver: None,
    };
    std::iter::once(unused)
        .chain(columns.iter().map(visible))
        .collect()
}

fn visible(column: &Column) -> ScopeColumn {
    ScopeColumn {
        name: column.name.clone(),
        sql_type: column.sql_type.clone(),
        hidden: false,
        driver: None,
    }
}

fn rename_columns(columns: &mut [ScopeColumn], names: &[Name], at: u32) -> Compiled<()> {
    let mut shown: Vec<&mut ScopeColumn> =
        columns.iter_mut().filter(|column| !column.hidden).collect();
    if !names.is_empty() && shown.len() != names.len() {
        return Err(other_column_count(names.len(), shown.len(), at));
    }

    for (column, name) in shown.iter_mut().zip(names) {
        column.name.clone_from(&name.text);
    }
    Ok(())
}

fn other_column_count(given: usize, expected: usize, at: u32) -> Issue {
    let message = format!("the alias names {given} columns; expected {expected}");
    Issue::new(ErrorClass::ColumnCount, at, message)
}

fn single(leaf: PartLeaf, scope: NameScope, at: u32) -> Compiled<(Plan, NameScope)> {
    match leaf.source {
        LeafSource::Stream(plan, _) => {
            // One operand's rows begin with its own ROWTIME; an outer join's rows have one of their
            // own before it.
            let relations = leaf.relations;
            Ok((plan, NameScope { relations, ..scope }))
        }
        LeafSource::Table(_) => Err(Issue::unsupported(
            at,
            "a query over a reference table alone",
        )),
    }
}

fn refuse_repeated_aliases(part: &Part, at: u32) -> Compiled<()> {
    let mut seen = BTreeSet::new();
    for relation in part.leaves.iter().flat_map(|leaf| &leaf.relations) {
        if !relation.alias.is_empty() && !seen.insert(&relation.alias) {
            let message = format!(
                "FROM has two relations called \"{}\"; expected an alias for one of them",
                relation.alias
            );
            return Err(Issue::new(ErrorClass::DuplicateName, at, message));
        }
    }
    Ok(())
}

fn refuse_kept_table(leaf: &Leaf, keeps: bool, at: u32) -> Compiled<()> {
    if keeps && matches!(leaf.source, LeafSource::Table(_)) {
        return Err(Issue::unsupported(
            at,
            "an outer join that preserves the rows of a reference table",
        ));
    }
    Ok(())
}

fn join_plan(leaves: Vec<PartLeaf>, predicates: Vec<Expr>, width: usize) -> Plan {
    let mut offset = 1;
    let leaves = leaves
        .into_iter()
        .map(|leaf| {
            let placed = leaf.at_offset(offset);
            offset += placed.width;
            placed
        })
        .collect();
    Plan::Join(Box::new(JoinPlan {
        leaves,
        predicates,
        width,
    }))
}

impl PartLeaf {
    fn at_offset(self, offset: usize) -> Leaf {
        Leaf {
            source: self.source,
            offset,
            width: self.width,
        }
    }
}

impl Part {
    fn beside(mut self, other: Self) -> Self {
        let shift = self.width();
        self.leaves.extend(other.leaves);
        self.merged.extend(other.merged);
        self.predicates.extend(
            other
                .predicates
                .into_iter()
                .map(|predicate| shifted(predicate, shift)),
        );
        self
    }

    fn width(&self) -> usize {
        self.leaves.iter().map(|leaf| leaf.width).sum()
    }

    /// The names of all leaves, as columns of the joined row.
    fn scope(&self) -> NameScope {
        let mut relations = Vec::new();
        let mut offset = 1;
        for leaf in &self.leaves {
            relations.extend(leaf.relations.iter().map(|relation| {
                let mut relation = relation.clone();
                relation.offset += offset;
                refresh_drivers(&mut relation, leaf);
                relation
            }));
            offset += leaf.width;
        }
        NameScope {
            relations,
            merged: self.merged.clone(),
            ..NameScope::default()
        }
    }

    /// The part with all leaves joined to one.
    fn into_one(self) -> Self {
        if self.leaves.len() == 1 && self.predicates.is_empty() {
            return self;
        }

        let relations = self.scope().relations;
        let width = 1 + self.width();
        let plan = join_plan(self.leaves, self.predicates, width);
        Self {
            leaves: vec![PartLeaf {
                source: LeafSource::Stream(plan, Kept::Instant),
                relations,
                width,
            }],
            predicates: Vec::new(),
            merged: self.merged,
        }
    }
}

/// A row that waits in a window is older than the match: only the columns of
/// rows of the instant grow.
fn refresh_drivers(relation: &mut ScopeRelation, leaf: &PartLeaf) {
    if matches!(leaf.source, LeafSource::Stream(_, Kept::Instant)) {
        return;
    }
    for column in &mut relation.columns {
        column.driver = None;
    }
}

fn shifted(mut expression: Expr, by: usize) -> Expr {
    fn shift(expression: &mut Expr, by: usize) {
        if let crate::expr::ExprKind::Column(index) = &mut expression.kind {
            *index += by;
        }
        expression.for_each_child_mut(&mut |child| shift(child, by));
    }
    shift(&mut expression, by);
    expression
}
