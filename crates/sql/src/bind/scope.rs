//! The names that an expression may use, and the columns that they stand for.

use super::monotonic::Driver;
use crate::catalog::ROWTIME;
use crate::error::{Compiled, ErrorClass, Issue};
use crate::expr::Expr;
use crate::text::ast::Name;
use crate::types::SqlType;

/// A column of a relation in scope.
#[derive(Debug, Clone)]
pub(crate) struct ScopeColumn {
    pub(crate) name: String,
    pub(crate) sql_type: SqlType,
    /// ROWTIME and other metadata, which `*` leaves out.
    pub(crate) hidden: bool,
    /// The way in which the column grows with time, if so.
    pub(crate) driver: Option<Driver>,
}

impl ScopeColumn {
    /// The ROWTIME of a relation's rows.
    pub(crate) fn rowtime() -> Self {
        Self {
            name: ROWTIME.to_owned(),
            sql_type: SqlType::Timestamp,
            hidden: true,
            driver: Some(Driver::Time(Expr::column(0, SqlType::Timestamp))),
        }
    }
}

/// A relation of FROM.
#[derive(Debug, Clone)]
pub(crate) struct ScopeRelation {
    /// Empty for a subquery without a name.
    pub(crate) alias: String,
    pub(crate) columns: Vec<ScopeColumn>,
    /// The place of the first column (ROWTIME) in the row at hand.
    pub(crate) offset: usize,
    /// Whether the columns are unknown, because the definition had an error.
    pub(crate) broken: bool,
}

impl ScopeRelation {
    /// The names by which a column is found.
    fn path(&self, column: &str) -> Vec<String> {
        let alias = (!self.alias.is_empty()).then(|| self.alias.clone());
        alias.into_iter().chain([column.to_owned()]).collect()
    }
}

/// All relations of FROM. In a join, column 0 of the row is the ROWTIME of the match.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameScope {
    pub(crate) relations: Vec<ScopeRelation>,
    /// Columns of USING: one name for the columns of both sides.
    pub(crate) merged: Vec<String>,
    /// Parameters of a function, when the body is bound.
    pub(crate) parameters: Vec<(String, SqlType)>,
}

/// A resolved name.
pub(crate) enum Resolved<'a> {
    Column(usize, &'a ScopeColumn),
    Parameter(usize, &'a SqlType),
    /// The bare ROWTIME of a scope with several relations.
    RowTimeOfJoin,
    /// A name of a relation whose columns are unknown.
    Broken,
}

/// How a path of names was resolved, and which names are left (fields of a row value).
pub(crate) type Path<'a> = (Resolved<'a>, &'a [Name]);

impl NameScope {
    /// The scope of one relation.
    pub(crate) fn of_query(alias: String, columns: Vec<ScopeColumn>) -> Self {
        let relation = ScopeRelation {
            alias,
            columns,
            offset: 0,
            broken: false,
        };
        Self {
            relations: vec![relation],
            ..Self::default()
        }
    }

    /// The paths of the columns that `*` stands for.
    pub(crate) fn visible(&self) -> impl Iterator<Item = Vec<String>> {
        let mut merged: Vec<&str> = Vec::new();
        let mut paths = Vec::new();
        for relation in &self.relations {
            for column in relation.columns.iter().filter(|column| !column.hidden) {
                let name = column.name.as_str();
                if merged.contains(&name) {
                    continue;
                }
                if self.merged.iter().any(|merged| merged == name) {
                    merged.push(name);
                }
                paths.push(relation.path(name));
            }
        }
        paths.into_iter()
    }

    pub(crate) fn width(&self) -> usize {
        let last = self.relations.last();
        last.map_or(1, |relation| relation.offset + relation.columns.len())
    }

    pub(crate) fn drivers(&self) -> Vec<Option<Driver>> {
        let mut drivers = vec![None; self.width()];
        for relation in &self.relations {
            for (index, column) in relation.columns.iter().enumerate() {
                drivers[relation.offset + index].clone_from(&column.driver);
            }
        }
        drivers
    }

    /// Finds `column`, `alias.column`, `column.field` or `alias.column.field`.
    pub(crate) fn resolve<'a>(&'a self, path: &'a [Name]) -> Compiled<Path<'a>> {
        let Some((first, rest)) = path.split_first() else {
            return Ok((Resolved::Broken, path));
        };
        if let Some((second, fields)) = rest.split_first()
            && let Some(relation) = self.relation(&first.text)
        {
            return Ok((column_of(relation, second)?, fields));
        }
        if rest.is_empty() || self.holds(&first.text) {
            return Ok((self.unqualified(first)?, rest));
        }

        Err(self.no_relation(first))
    }

    fn no_relation(&self, name: &Name) -> Issue {
        let relations = self.relations.iter();
        let names = relations.map(|relation| relation.alias.as_str());
        Issue::unknown(
            ErrorClass::UnknownColumn,
            name,
            "FROM has no relation",
            names,
        )
    }

    pub(crate) fn relation(&self, alias: &str) -> Option<&ScopeRelation> {
        self.relations
            .iter()
            .find(|relation| relation.alias == alias && !alias.is_empty())
    }

    fn holds(&self, name: &str) -> bool {
        self.relations
            .iter()
            .any(|relation| position(relation, name).is_some())
    }

    fn unqualified<'a>(&'a self, name: &Name) -> Compiled<Resolved<'a>> {
        let parameter = self
            .parameters
            .iter()
            .position(|(parameter, _)| *parameter == name.text);
        if let Some(index) = parameter {
            return Ok(Resolved::Parameter(index, &self.parameters[index].1));
        }
        if name.text == ROWTIME && self.relations.len() > 1 {
            return Ok(Resolved::RowTimeOfJoin);
        }

        let mut found = None;
        for relation in &self.relations {
            let Some(index) = position(relation, &name.text) else {
                continue;
            };
            if found.is_some() {
                if self.merged.contains(&name.text) {
                    continue;
                }
                return Err(ambiguous(name));
            }
            found = Some((relation, index));
            refuse_repeated(relation, name)?;
        }
        match found {
            Some((relation, index)) => Ok(Resolved::Column(
                relation.offset + index,
                &relation.columns[index],
            )),
            None if self.relations.iter().any(|relation| relation.broken) => Ok(Resolved::Broken),
            None => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &Name) -> Issue {
        let columns = self
            .relations
            .iter()
            .flat_map(|relation| &relation.columns)
            .map(|column| column.name.as_str());
        let parameters = self.parameters.iter().map(|(name, _)| name.as_str());
        unknown_column(name, columns.chain(parameters))
    }
}

fn column_of<'a>(relation: &'a ScopeRelation, name: &Name) -> Compiled<Resolved<'a>> {
    if let Some(index) = position(relation, &name.text) {
        refuse_repeated(relation, name)?;
        let column = &relation.columns[index];
        return Ok(Resolved::Column(relation.offset + index, column));
    }
    if relation.broken {
        return Ok(Resolved::Broken);
    }
    let columns = relation.columns.iter().map(|column| column.name.as_str());
    Err(unknown_column(name, columns))
}

/// The column of this name. ROWTIME is always the row's time; other metadata give way to declared
/// columns, and are known in any case.
fn position(relation: &ScopeRelation, name: &str) -> Option<usize> {
    let of = |matches: &dyn Fn(&ScopeColumn) -> bool| relation.columns.iter().position(matches);
    if name == ROWTIME {
        return of(&|column| column.hidden && column.name == name);
    }
    of(&|column| !column.hidden && column.name == name)
        .or_else(|| of(&|column| column.hidden && column.name.eq_ignore_ascii_case(name)))
}

fn refuse_repeated(relation: &ScopeRelation, name: &Name) -> Compiled<()> {
    let named = relation
        .columns
        .iter()
        .filter(|column| !column.hidden && column.name == name.text);
    if named.count() > 1 && name.text != ROWTIME {
        return Err(ambiguous(name));
    }
    Ok(())
}

fn ambiguous(name: &Name) -> Issue {
    let message = format!(
        "\"{}\" is a column of more than one relation; expected alias.column",
        name.text
    );
    Issue::new(ErrorClass::AmbiguousColumn, name.at, message)
}

pub(crate) fn unknown_column<'a>(name: &Name, known: impl Iterator<Item = &'a str>) -> Issue {
    Issue::unknown(ErrorClass::UnknownColumn, name, "there is no column", known)
}
