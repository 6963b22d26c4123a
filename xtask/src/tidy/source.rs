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
        let failed = |e: &dyn Error| format!("{}: not Rust: {e}", path.display());
        let stream: TokenStream = text.parse().map_err(|e| failed(&e))?;
        let lexed = lex::lex(&text, stream.clone());

        let file: syn::File = syn::parse2(stream).map_err(|e| failed(&e))?;
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

/// The crate of a production file, named by folder: `wire` for `crates/wire/src/lib.rs`.
/// None for files of tests, examples and fuzz targets, and for anything but Rust.
pub(super) fn crate_of(path: &Path) -> Option<String> {
    if path.extension().is_none_or(|e| e != "rs") || is_test_file(path) {
        return None;
    }

    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    match parts.as_slice() {
        ["crates", name, "src", ..] | [name @ ("xtask" | "bench"), "src", ..] => {
            Some((*name).to_owned())
        }
        _ => None,
    }
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
        .flat_map(|source| source.syntax.test_modules.iter().cloned())
        .collect();

    // A module `a` is the file `a.rs` or any file below the folder `a`.
    sources.retain(|source| {
        let path = &source.path;
        !modules
            .iter()
            .any(|module| path.starts_with(module) || path.with_extension("") == *module)
    });
    sources
}
