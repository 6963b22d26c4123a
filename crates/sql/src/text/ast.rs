//! The syntax tree. Every node knows the byte offset for errors.

use crate::types::{IntervalType, SqlType, Unit};
use crate::value::Value;

/// A name as stored: folded when unquoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) at: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) replace: bool,
    pub(crate) name: Name,
    pub(crate) kind: StatementKind,
}

#[derive(Debug, Clone)]
pub(crate) enum StatementKind {
    Stream(Vec<ColumnDefinition>),
    Pump(Box<PumpDefinition>),
    Function(Box<FunctionDefinition>),
    /// The statement could not be read past the name; the issue is reported already.
    Broken(Defined),
}

/// The kind of thing that a CREATE statement defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defined {
    Stream,
    Pump,
    Function,
}

#[derive(Debug, Clone)]
pub(crate) struct ColumnDefinition {
    pub(crate) name: Name,
    pub(crate) sql_type: SqlType,
    pub(crate) not_null: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct PumpDefinition {
    pub(crate) stopped: bool,
    pub(crate) target: Name,
    pub(crate) columns: Option<Vec<Name>>,
    pub(crate) query: Query,
}

#[derive(Debug, Clone)]
pub(crate) struct FunctionDefinition {
    pub(crate) parameters: Vec<(Name, SqlType)>,
    pub(crate) returns: SqlType,
    pub(crate) null_on_null: bool,
    pub(crate) body: Ast,
}

#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) at: u32,
    pub(crate) body: QueryBody,
    pub(crate) order_by: Vec<OrderTerm>,
}

#[derive(Debug, Clone)]
pub(crate) enum QueryBody {
    Select(Box<Select>),
    UnionAll(Box<Query>, Box<Query>),
}

#[derive(Debug, Clone)]
pub(crate) struct OrderTerm {
    pub(crate) expression: Ast,
    pub(crate) descending: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Select {
    pub(crate) at: u32,
    pub(crate) distinct: bool,
    pub(crate) items: Vec<SelectItem>,
    pub(crate) from: Relation,
    pub(crate) filter: Option<Ast>,
    pub(crate) grouping: Option<Grouping>,
    pub(crate) having: Option<Ast>,
    pub(crate) windows: Vec<(Name, WindowSpec)>,
}

#[derive(Debug, Clone)]
pub(crate) enum SelectItem {
    /// `*`
    All(u32),
    /// `alias.*`
    AllOf(Name),
    Expression {
        value: Ast,
        alias: Option<Name>,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Grouping {
    By(Vec<Ast>),
    Stagger { partition: Vec<Ast>, range: Ast },
}

#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub(crate) at: u32,
    pub(crate) kind: RelationKind,
}

#[derive(Debug, Clone)]
pub(crate) enum RelationKind {
    Operand(Operand),
    Join(Box<Join>),
}

/// One operand of FROM: a stream, a table, a subquery or a table function.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub(crate) source: OperandSource,
    pub(crate) over: Option<Over>,
    pub(crate) alias: Option<Name>,
    pub(crate) columns: Vec<Name>,
}

#[derive(Debug, Clone)]
pub(crate) enum OperandSource {
    Stream(Name),
    Query(Box<Query>),
    Function(Box<TableFunction>),
}

/// `TABLE(NAME(CURSOR(query), argument, …))`
#[derive(Debug, Clone)]
pub(crate) struct TableFunction {
    pub(crate) name: Name,
    pub(crate) cursor: Query,
    pub(crate) arguments: Vec<Ast>,
}

#[derive(Debug, Clone)]
pub(crate) struct Join {
    pub(crate) kind: JoinKind,
    pub(crate) left: Relation,
    pub(crate) right: Relation,
    pub(crate) condition: JoinCondition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

#[derive(Debug, Clone)]
pub(crate) enum JoinCondition {
    None,
    On(Ast),
    Using(Vec<Name>),
}

#[derive(Debug, Clone)]
pub(crate) enum Over {
    Named(Name),
    Spec(WindowSpec),
}

#[derive(Debug, Clone)]
pub(crate) struct WindowSpec {
    pub(crate) at: u32,
    pub(crate) partition: Vec<Ast>,
    pub(crate) frame: Option<Frame>,
}

#[derive(Debug, Clone)]
pub(crate) enum Frame {
    Rows(Ast),
    Range(Ast),
    CurrentRow,
}

#[derive(Debug, Clone)]
pub(crate) struct Ast {
    /// The operator of an operation, else the first character.
    pub(crate) at: u32,
    /// The first character.
    pub(crate) start: u32,
    /// The levels of nodes below and with this one.
    pub(crate) height: u32,
    pub(crate) kind: AstKind,
}

impl Ast {
    pub(crate) fn new(at: u32, kind: AstKind) -> Self {
        let mut below = 0;
        let mut start = at;
        kind.for_each_child(&mut |child| {
            below = below.max(child.height);
            start = start.min(child.start);
        });
        Self {
            at,
            start,
            height: below + 1,
            kind,
        }
    }
}

impl AstKind {
    fn for_each_child(&self, visit: &mut dyn FnMut(&Ast)) {
        match self {
            Self::Name(_) | Self::Literal(..) | Self::Exists(_) | Self::Row => {}
            Self::Negate(inner)
            | Self::Not(inner)
            | Self::Is(inner, ..)
            | Self::InQuery(inner, ..)
            | Self::Cast(inner, _)
            | Self::Interval(inner, _) => visit(inner),
            Self::Binary(_, left, right) | Self::DistinctFrom(left, right, _) => {
                visit(left);
                visit(right);
            }
            Self::Between(value, low, high, _) => {
                [value, low, high]
                    .into_iter()
                    .for_each(|child| visit(child));
            }
            Self::InList(value, list, _) => {
                visit(value);
                list.iter().for_each(visit);
            }
            Self::Like(like) => {
                visit(&like.value);
                visit(&like.pattern);
            }
            Self::Case {
                operand,
                arms,
                otherwise,
            } => {
                operand
                    .iter()
                    .chain(otherwise)
                    .for_each(|child| visit(child));
                for (when, then) in arms {
                    visit(when);
                    visit(then);
                }
            }
            Self::Call(call) => {
                let arguments = call.arguments.iter();
                arguments.for_each(visit);
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum AstKind {
    /// `column`, `alias.column` or `alias.row.field`.
    Name(Vec<Name>),
    Literal(Value, SqlType),
    Negate(Box<Ast>),
    Not(Box<Ast>),
    Binary(BinaryOperator, Box<Ast>, Box<Ast>),
    Is(Box<Ast>, Tested, bool),
    DistinctFrom(Box<Ast>, Box<Ast>, bool),
    Between(Box<Ast>, Box<Ast>, Box<Ast>, bool),
    InList(Box<Ast>, Vec<Ast>, bool),
    InQuery(Box<Ast>, Box<Query>, bool),
    Exists(Box<Query>),
    Like(Box<LikeAst>),
    Case {
        operand: Option<Box<Ast>>,
        arms: Vec<(Ast, Ast)>,
        otherwise: Option<Box<Ast>>,
    },
    Cast(Box<Ast>, SqlType),
    /// `(a - b) SECOND`
    Interval(Box<Ast>, IntervalType),
    Call(Box<Call>),
    /// `(a, b)`: one side of a period predicate.
    Row,
}

#[derive(Debug, Clone)]
pub(crate) struct LikeAst {
    pub(crate) value: Ast,
    pub(crate) pattern: Ast,
    pub(crate) escape: Option<Ast>,
    pub(crate) similar: bool,
    pub(crate) negated: bool,
}

/// The right side of IS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tested {
    Null,
    True,
    False,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOperator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Concatenate,
    Multiply,
    Divide,
}

/// A function with its arguments; keywords between arguments became a `Form`.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) name: Name,
    pub(crate) form: Form,
    pub(crate) arguments: Vec<Ast>,
    pub(crate) distinct: bool,
    pub(crate) ignore_nulls: bool,
    pub(crate) from_last: bool,
    pub(crate) over: Option<Over>,
}

/// The way in which a call was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `F(a, b)`
    Plain,
    /// `COUNT(*)`
    Star,
    /// `CURRENT_DATE`
    Bare,
    /// `FLOOR(x TO HOUR)`, `EXTRACT(HOUR FROM x)`
    Unit(Unit),
    /// `STEP(x BY y)`
    By,
    /// `POSITION(a IN b)`
    In,
    /// `SUBSTRING(s FROM i FOR n)`
    From,
    /// `SUBSTRING(s SIMILAR p ESCAPE e)`
    Similar,
    /// `OVERLAY(s PLACING r FROM i FOR n)`
    Placing,
    /// `TRIM(side c FROM s)`
    Trim(Side),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Leading,
    Trailing,
    Both,
}
