//! Errors of the compiler, with their class and their place in the text.

use std::fmt;

use crate::text::ast::Name;

/// The kind of a compile error: a stable word for tests, scripts and documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorClass {
    /// The text does not follow the grammar.
    Syntax,
    /// No stream or table of this name exists at this point of the text.
    UnknownStream,
    /// No relation in scope has this column.
    UnknownColumn,
    /// Two relations in scope have this column.
    AmbiguousColumn,
    /// No function has this name with these arguments.
    UnknownFunction,
    /// The types of an operation, a conversion or an assignment do not fit.
    TypeMismatch,
    /// The number of values differs from the number of columns.
    ColumnCount,
    /// A window has no expression that only ever grows with time.
    NotMonotonic,
    /// A column is used that is neither grouped nor aggregated.
    NotGrouped,
    /// A windowed function stands where no window can be evaluated.
    MisplacedWindow,
    /// An aggregate stands where no group exists.
    MisplacedAggregate,
    /// A name is defined twice.
    DuplicateName,
    /// A name belongs to the runtime.
    ReservedName,
    /// The construct exists in the dialect and is not built here.
    Unsupported,
    /// The application's configuration is wrong.
    Config,
}

impl ErrorClass {
    /// The class as printed between the brackets of `error[…]`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::UnknownStream => "unknown-stream",
            Self::UnknownColumn => "unknown-column",
            Self::AmbiguousColumn => "ambiguous-column",
            Self::UnknownFunction => "unknown-function",
            Self::TypeMismatch => "type-mismatch",
            Self::ColumnCount => "column-count",
            Self::NotMonotonic => "not-monotonic",
            Self::NotGrouped => "not-grouped",
            Self::MisplacedWindow => "misplaced-window",
            Self::MisplacedAggregate => "misplaced-aggregate",
            Self::DuplicateName => "duplicate-name",
            Self::ReservedName => "reserved-name",
            Self::Unsupported => "unsupported",
            Self::Config => "config",
        }
    }
}

/// One error of the compiler, printed as `error[CLASS]: line L, column C: message`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompileError {
    /// Line in the application code, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The kind of the error.
    pub class: ErrorClass,
    /// The finding, and the expectation.
    pub message: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "error[{}]: line {}, column {}: {}",
            self.class.word(),
            self.line,
            self.column,
            self.message
        )
    }
}

/// All independent errors of one text, in order of their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileErrors(pub Vec<CompileError>);

impl CompileErrors {
    /// One error of the configuration, which has no place in the code.
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self(vec![CompileError {
            line: 1,
            column: 1,
            class: ErrorClass::Config,
            message: message.into(),
        }])
    }

    /// Gives each issue a line and column in `text`.
    pub(crate) fn locate(text: &str, issues: Vec<Issue>) -> Self {
        let mut errors: Vec<CompileError> =
            issues.into_iter().map(|issue| issue.locate(text)).collect();

        errors.sort();
        errors.dedup();
        Self(errors)
    }
}

impl fmt::Display for CompileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CompileErrors {}

/// An error with a byte offset instead of line and column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issue {
    pub(crate) class: ErrorClass,
    pub(crate) at: u32,
    pub(crate) message: String,
}

impl Issue {
    pub(crate) fn new(class: ErrorClass, at: u32, message: impl Into<String>) -> Self {
        Self {
            class,
            at,
            message: message.into(),
        }
    }

    pub(crate) fn unsupported(at: u32, construct: &str) -> Self {
        let message = format!("{construct} is part of the dialect, but not built here");
        Self::new(ErrorClass::Unsupported, at, message)
    }

    pub(crate) fn mismatch(at: u32, message: impl Into<String>) -> Self {
        Self::new(ErrorClass::TypeMismatch, at, message)
    }

    /// A name that nothing has, with the nearest of the known ones. `what` begins the message.
    pub(crate) fn unknown<'a>(
        class: ErrorClass,
        name: &Name,
        what: &str,
        known: impl Iterator<Item = &'a str>,
    ) -> Self {
        let text = &name.text;
        let message = format!("{what} \"{text}\"{}", nearest(text, known));
        Self::new(class, name.at, message)
    }

    fn locate(self, text: &str) -> CompileError {
        let end = (self.at as usize).min(text.len());
        let before = text.get(..end).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);

        CompileError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            class: self.class,
            message: self.message,
        }
    }
}

/// A step of the compiler.
pub(crate) type Compiled<T> = Result<T, Issue>;

/// The sentence that names the nearest of the known names, or nothing when none is near.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut best: Option<(f64, &str)> = None;

    for candidate in known {
        if candidate != name && candidate.eq_ignore_ascii_case(name) {
            return format!("; it exists as \"{candidate}\": quote it");
        }
        let likeness =
            strsim::jaro_winkler(&candidate.to_ascii_uppercase(), &name.to_ascii_uppercase());
        if likeness > best.map_or(0.75, |(most, _)| most) {
            best = Some((likeness, candidate));
        }
    }
    best.map_or_else(String::new, |(_, candidate)| {
        format!("; the nearest name is \"{candidate}\"")
    })
}
