//! LIKE and SIMILAR TO.

use regex::Regex;

use super::{Expr, Scope};
use crate::functions::regex::similar_regex;
use crate::value::{Evaluated, RowError};

/// The right side of LIKE or SIMILAR TO.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    /// LIKE with a constant pattern.
    Like(LikePattern),
    /// SIMILAR TO with a constant pattern.
    Similar(Regex),
    /// A pattern that differs from row to row.
    Dynamic(Box<DynamicPattern>),
}

/// The parts of a pattern that is known only row by row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DynamicPattern {
    pub(crate) pattern: Expr,
    pub(crate) escape: Option<Expr>,
    pub(crate) similar: bool,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Like(left), Self::Like(right)) => left == right,
            (Self::Similar(left), Self::Similar(right)) => left.as_str() == right.as_str(),
            (Self::Dynamic(left), Self::Dynamic(right)) => left == right,
            _ => false,
        }
    }
}

impl Pattern {
    /// A constant pattern.
    pub(crate) fn constant(
        pattern: &str,
        escape: Option<&str>,
        similar: bool,
    ) -> Result<Self, String> {
        let escape = escape.map(single_character).transpose()?;
        if similar {
            similar_regex(pattern, escape).map(Self::Similar)
        } else {
            LikePattern::new(pattern, escape).map(Self::Like)
        }
    }

    /// Whether the whole value matches; UNKNOWN when the value or the pattern is NULL.
    pub(super) fn matches(&self, value: &Expr, scope: Scope<'_>) -> Evaluated<Option<bool>> {
        let value = value.eval(scope)?;
        if value.is_null() {
            return Ok(None);
        }
        match self {
            Self::Like(pattern) => {
                let matched = pattern.matches(value.text());
                Ok(Some(matched))
            }
            Self::Similar(regex) => {
                let matched = regex.is_match(value.text());
                Ok(Some(matched))
            }
            Self::Dynamic(dynamic) => {
                let text = value.text();
                dynamic.matches(text, scope)
            }
        }
    }

    pub(super) fn for_each_child(&self, visit: &mut dyn FnMut(&Expr)) {
        if let Self::Dynamic(dynamic) = self {
            visit(&dynamic.pattern);
            dynamic.escape.iter().for_each(visit);
        }
    }
}

impl Pattern {
    pub(super) fn for_each_child_mut(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        if let Self::Dynamic(dynamic) = self {
            visit(&mut dynamic.pattern);
            dynamic.escape.iter_mut().for_each(visit);
        }
    }
}

impl DynamicPattern {
    fn matches(&self, value: &str, scope: Scope<'_>) -> Evaluated<Option<bool>> {
        let pattern = self.pattern.eval(scope)?;
        let escape = match &self.escape {
            Some(escape) => Some(escape.eval(scope)?),
            None => None,
        };
        if pattern.is_null() || escape.as_ref().is_some_and(|escape| escape.is_null()) {
            return Ok(None);
        }

        let escape = escape.as_ref().map(|escape| escape.text());
        match Pattern::constant(pattern.text(), escape, self.similar) {
            Ok(Pattern::Like(pattern)) => {
                let matched = pattern.matches(value);
                Ok(Some(matched))
            }
            Ok(Pattern::Similar(regex)) => {
                let matched = regex.is_match(value);
                Ok(Some(matched))
            }
            Ok(Pattern::Dynamic(_)) => Ok(None),
            Err(message) => Err(RowError::function(message)),
        }
    }
}

fn single_character(text: &str) -> Result<char, String> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        _ => Err("ESCAPE wants exactly one character".to_owned()),
    }
}

/// A LIKE pattern: pieces of text between runs of any length, with `_` for one character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LikePattern {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Text(String),
    AnyCharacter,
    AnyRun,
}

impl LikePattern {
    fn new(pattern: &str, escape: Option<char>) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut characters = pattern.chars();

        while let Some(next) = characters.next() {
            if Some(next) == escape {
                let escaped = characters.next().ok_or("the pattern ends in its escape")?;
                push_text(&mut steps, escaped);
            } else if next == '%' {
                if steps.last() != Some(&Step::AnyRun) {
                    steps.push(Step::AnyRun);
                }
            } else if next == '_' {
                steps.push(Step::AnyCharacter);
            } else {
                push_text(&mut steps, next);
            }
        }
        Ok(Self { steps })
    }

    fn matches(&self, value: &str) -> bool {
        // After a later run matched, no other end of an earlier run can help: one place to go back
        // to is enough.
        let (mut step, mut rest) = (0, value);
        let mut retry: Option<(usize, &str)> = None;

        loop {
            match self.steps.get(step) {
                None if rest.is_empty() => return true,
                Some(Step::AnyRun) => {
                    step += 1;
                    if step == self.steps.len() {
                        return true;
                    }
                    retry = Some((step, rest));
                    continue;
                }
                Some(Step::Text(text)) if rest.starts_with(text.as_str()) => {
                    rest = &rest[text.len()..];
                    step += 1;
                    continue;
                }
                Some(Step::AnyCharacter) if !rest.is_empty() => {
                    rest = after_first(rest);
                    step += 1;
                    continue;
                }
                _ => {}
            }

            let Some((again, from)) = retry else {
                return false;
            };
            if from.is_empty() {
                return false;
            }
            rest = after_first(from);
            step = again;
            retry = Some((again, rest));
        }
    }
}

fn after_first(text: &str) -> &str {
    let mut characters = text.chars();
    characters.next();
    characters.as_str()
}

fn push_text(steps: &mut Vec<Step>, character: char) {
    if let Some(Step::Text(text)) = steps.last_mut() {
        text.push(character);
    } else {
        steps.push(Step::Text(character.into()));
    }
}
