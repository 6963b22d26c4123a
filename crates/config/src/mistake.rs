//! Mistakes in a configuration, each with its place.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use distributary_adapters::values::Expected;

/// The place where something was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: a value that is missing.
    #[default]
    Nowhere,
    /// A flag, without its dashes.
    Flag(String),
    /// An environment variable.
    Variable(String),
    /// A line of a file.
    Line {
        /// The file.
        path: Arc<Path>,
        /// From 1.
        line: usize,
        /// From 1; `None` for a whole table.
        column: Option<usize>,
    },
    /// A whole file.
    File(Arc<Path>),
}

impl Place {
    /// The same line without its column: the place of a table.
    #[must_use]
    pub fn whole_line(self) -> Self {
        match self {
            Self::Line { path, line, .. } => Self::Line {
                path,
                line,
                column: None,
            },
            other => other,
        }
    }

    /// The file, if the place is in one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Line { path, .. } | Self::File(path) => Some(path),
            Self::Nowhere | Self::Flag(_) | Self::Variable(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => Ok(()),
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => f.write_str(name),
            Self::Line {
                path,
                line,
                column: None,
            } => write!(f, "{}:{line}", path.display()),
            Self::Line {
                path,
                line,
                column: Some(column),
            } => write!(f, "{}:{line}:{column}", path.display()),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A value, or every mistake that was found.
pub type Result<T> = std::result::Result<T, Mistakes>;

/// One mistake: one sentence that names the key, the expectation and, for a misspelt word, the
/// nearest one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The place.
    pub place: Place,
    /// The sentence.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Nowhere => f.write_str(&self.message),
            place => write!(f, "{place}: {}", self.message),
        }
    }
}

/// Every mistake that was found, one a line; at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// One mistake.
    pub fn one(place: &Place, message: impl Into<String>) -> Self {
        let mut mistakes = Self::default();
        mistakes.add(place, message);
        mistakes
    }

    /// Turns an unexpected value at `place` into a mistake.
    pub fn at(place: &Place) -> impl Fn(Expected) -> Self {
        |expected| Self::one(place, expected.0)
    }

    /// Adds a mistake.
    pub fn add(&mut self, place: &Place, message: impl Into<String>) {
        self.0.push(Mistake {
            place: place.clone(),
            message: message.into(),
        });
    }

    /// Adds a mistake for each of `messages`.
    pub fn add_all(&mut self, place: &Place, messages: Vec<String>) {
        for message in messages {
            self.add(place, message);
        }
    }

    /// Adds the mistakes of `other`.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// The mistakes in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }

    /// The value of `result`; mistakes of `result` are added.
    pub fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(more) => {
                self.append(more);
                None
            }
        }
    }

    /// `value`, unless there are mistakes.
    ///
    /// # Errors
    /// The mistakes, if there are any.
    pub fn or<T>(self, value: T) -> Result<T> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Mistake::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Mistakes {}
