//! Functions and test modules of a file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{
    AttrStyle, Attribute, Block, Expr, ExprLit, ImplItemFn, ItemFn, ItemImpl, ItemMod, Lit, Meta,
    MetaNameValue, Signature, TraitItemFn,
};

use super::lex::Lexed;

/// A comment of this form above a function allows more tokens than the limit.
const LONG_BECAUSE: &str = "// tidy: long because ";

/// One function or method with a body. Closures and items inside are part of the function.
#[derive(Clone, Debug, Default)]
pub(super) struct Function {
    pub(super) name: String,
    /// The line of `fn`, counted from 1.
    pub(super) line: usize,
    /// Tokens from `fn` to the closing brace.
    pub(super) tokens: usize,
    /// Tokens of the body, both braces among them.
    pub(super) body_tokens: usize,
    /// Lines of the body, the lines of both braces among them.
    pub(super) body_lines: usize,
    pub(super) blank_lines: usize,
    /// Lines of the body with code: neither blank nor only a comment.
    pub(super) code_lines: usize,
    /// A comment above the function gives the reason for the length.
    pub(super) long_because: bool,
}

impl Function {
    /// The function in a file: `file:line name`.
    pub(super) fn place(&self, file: &str) -> String {
        let (line, name) = (self.line, &self.name);
        format!("{file}:{line} {name}")
    }

    /// Tokens a line of code in the body.
    pub(super) fn density(&self) -> f64 {
        self.body_tokens as f64 / self.code_lines as f64
    }
}

/// The parts of a file's syntax that the measures need.
#[derive(Debug, Default)]
pub(super) struct Syntax {
    pub(super) functions: Vec<Function>,
    /// Lines of `#[cfg(test)]` items, counted from 1.
    pub(super) test_lines: Vec<Range<usize>>,
    /// Paths without `.rs` of modules in other files that are declared under `#[cfg(test)]`.
    pub(super) test_modules: Vec<PathBuf>,
}

/// Reads the syntax of the file at `path`.
pub(super) fn read(path: &Path, text: &str, lexed: &Lexed, file: &syn::File) -> Syntax {
    let mut reader = Reader {
        path,
        lines: text.lines().collect(),
        lexed,
        syntax: Syntax::default(),
    };
    reader.visit_file(file);
    reader.syntax
}

struct Reader<'a> {
    path: &'a Path,
    lines: Vec<&'a str>,
    lexed: &'a Lexed,
    syntax: Syntax,
}

impl Reader<'_> {
    /// Notes the lines of an item for tests only; false for any other item.
    fn is_test(&mut self, attributes: &[Attribute], last_byte: usize) -> bool {
        if !attributes.iter().any(is_cfg_test) {
            return false;
        }

        let last = self.lexed.line_at(last_byte);
        let first = first_line(attributes, last);
        self.syntax.test_lines.push(first..last + 1);
        true
    }

    fn function(&mut self, attributes: &[Attribute], signature: &Signature, block: &Block) {
        let keyword = signature.fn_token.span;
        let line = keyword.start().line;
        let braces = block.brace_token.span.join().byte_range();
        if self.is_test(attributes, braces.end - 1) {
            return;
        }

        let mut function = Function {
            name: signature.ident.to_string(),
            line,
            tokens: self
                .lexed
                .tokens_in(&(keyword.byte_range().start..braces.end)),
            body_tokens: self.lexed.tokens_in(&braces),
            long_because: self.has_reason(first_line(attributes, line), line),
            ..Function::default()
        };
        self.count_lines(&braces, &mut function);
        self.syntax.functions.push(function);
    }

    fn count_lines(&self, braces: &Range<usize>, function: &mut Function) {
        let first = self.lexed.line_at(braces.start);
        let last = self.lexed.line_at(braces.end - 1);

        for line in first..=last {
            function.body_lines += 1;
            if self.lines[line - 1].trim().is_empty() {
                function.blank_lines += 1;
            } else if !self.lexed.only_comment(line) {
                function.code_lines += 1;
            }
        }
    }

    /// Whether a reason stands above the first attribute of a function or between attributes.
    fn has_reason(&self, first_line: usize, line: usize) -> bool {
        let mut above = line - 1;

        while above > 0 {
            let text = self.lines[above - 1].trim_start();
            if text.starts_with(LONG_BECAUSE) {
                return true;
            }
            if above < first_line && !text.starts_with("//") {
                return false;
            }
            above -= 1;
        }
        false
    }

    /// The path without `.rs` of the file of a module that is declared in this file.
    fn module_path(&self, module: &ItemMod) -> PathBuf {
        let mut folder = self.path.to_owned();
        folder.pop();
        if let Some(file) = module.attrs.iter().find_map(path_attribute) {
            return folder.join(file).with_extension("");
        }

        let stem = self.path.file_stem().unwrap_or_default();
        if stem != "lib" && stem != "main" && stem != "mod" {
            folder.push(stem);
        }
        folder.join(module.ident.to_string())
    }
}

/// The line of the first attribute above an item.
fn first_line(attributes: &[Attribute], otherwise: usize) -> usize {
    attributes
        .iter()
        // Attributes inside the item are listed, too.
        .filter(|attribute| matches!(attribute.style, AttrStyle::Outer))
        .map(|attribute| attribute.pound_token.span.start().line)
        .min()
        .unwrap_or(otherwise)
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.attrs, &item.sig, block);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let last_byte = item.brace_token.span.close().byte_range().start;
        if !self.is_test(&item.attrs, last_byte) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let last_byte = last_byte_of(item);
        if !self.is_test(&item.attrs, last_byte) {
            visit::visit_item_mod(self, item);
        } else if item.content.is_none() {
            let path = self.module_path(item);
            self.syntax.test_modules.push(path);
        }
    }
}

/// The place of the brace or semicolon that ends a module.
fn last_byte_of(module: &ItemMod) -> usize {
    let span = match (&module.content, &module.semi) {
        (Some((brace, _)), _) => brace.span.close(),
        (None, Some(semicolon)) => semicolon.span,
        (None, None) => module.mod_token.span,
    };
    span.byte_range().start
}

/// Whether an attribute is `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn is_cfg_test(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else {
        return false;
    };

    if !list.path.is_ident("cfg") {
        return false;
    }

    let condition = list.tokens.to_string().replace(' ', "");
    condition == "test" || condition.starts_with("all(test,")
}

/// The file of `#[path = "file"]`.
fn path_attribute(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(MetaNameValue {
            path,
            value:
                Expr::Lit(ExprLit {
                    lit: Lit::Str(file),
                    ..
                }),
            ..
        }) if path.is_ident("path") => Some(file.value()),
        _ => None,
    }
}
