//! Production Rust code: files with tokens, comments, functions and lines of tests.

use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};

use proc_macro2::TokenStream;

use super::lex::{self, Comment, Lexed};
use super::syntax::{self, Syntax};

/// One file of production code.
pub(super) struct Source {
    /// Path from the root of the repository.
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) lexed: Lexed,
    pub(super) syntax: Syntax,
}

impl Source {
    /// Lexes and parses one file.
    ///
    /// # Errors
    /// When the text is not Rust.
    pub(super) fn parse(path: PathBuf, text: String) -> Result<Self, Box<dyn Error>> {
        let parts = parse(&text);
        let (stream, file) = parts.map_err(|e| {
            let place = path.display();
            format!("{place}: not Rust: {e}")
        })?;

        let lexed = lex::lex(&text, stream);
        let syntax = syntax::read(&path, &text, &lexed, &file);
        Ok(Self {
            path,
            text,
            lexed,
            syntax,
        })
    }

    /// The production lines with their numbers, counted from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate();
        numbered
            .map(|(index, line)| (index + 1, line))
            .filter(|(number, _)| !self.in_tests(*number))
    }

    /// The comments of production code.
    pub(super) fn comments(&self) -> impl Iterator<Item = &Comment> {
        let comments = self.lexed.comments.iter();
        comments.filter(|comment| !self.in_tests(*comment.lines.start()))
    }

    fn in_tests(&self, line: usize) -> bool {
        let mut tests = self.syntax.test_lines.iter();
        tests.any(|range: &Range<usize>| range.contains(&line))
    }
}

fn parse(text: &str) -> syn::Result<(TokenStream, syn::File)> {
    let stream: TokenStream = text.parse()?;
    let file = syn::parse2(stream.clone())?;
    Ok((stream, file))
}

/// The crate of a production file, named by folder: `wire` for `crates/wire/src/lib.rs`.
/// None for files of tests, examples and fuzz targets, and for anything but Rust.
pub(super) fn crate_of(path: &Path) -> Option<String> {
    if path.extension().is_none_or(|e| e != "rs") || is_test_file(path) {
        return None;
    }

    let parts: Vec<&str> = path.to_str()?.split('/').collect();
    let name = match parts.as_slice() {
        ["crates", name, "src", ..] => name,
        [name @ ("xtask" | "bench"), "src", ..] => name,
        _ => return None,
    };
    Some((*name).to_owned())
}

/// Files of unit tests are named `tests.rs` or `…_tests.rs`, or stand in a folder `tests`.
fn is_test_file(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or("");
    stem == "tests" || stem.ends_with("_tests") || path.iter().any(|part| part == "tests")
}

/// Drops the files that only a `#[cfg(test)]` module includes.
pub(super) fn without_test_modules(mut sources: Vec<Source>) -> Vec<Source> {
    let modules: Vec<PathBuf> = sources
        .iter()
        .flat_map(|source| source.syntax.test_modules.iter())
        .cloned()
        .collect();

    sources.retain(|source| {
        let mut modules = modules.iter();
        !modules.any(|module| belongs_to(&source.path, module))
    });
    sources
}

/// A module `a` is the file `a.rs` and all files below the folder `a`.
fn belongs_to(file: &Path, module: &Path) -> bool {
    file.starts_with(module) || file.with_extension("") == module
}
