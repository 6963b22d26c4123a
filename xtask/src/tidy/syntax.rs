//! Functions and test modules of a file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{
    AttrStyle, Attribute, Block, ImplItemFn, ItemFn, ItemImpl, ItemMod, Meta, Signature,
    TraitItemFn,
};

use super::lex::Lexed;

/// A comment of this form above a function allows more tokens than the limit.
const LONG_BECAUSE: &str = "// tidy: long because ";

/// One function or method with a body. Closures and items inside are part of the function.
#[derive(Clone, Debug)]
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
    /// The line of the first attribute above an item.
    fn line_of(&self, attributes: &[Attribute], otherwise: usize) -> usize {
        // Attributes inside the item are listed, too.
        let outer = attributes
            .iter()
            .filter(|attribute| matches!(attribute.style, AttrStyle::Outer));
        let lines = outer.map(|attribute| attribute.pound_token.span.start().line);
        lines.min().unwrap_or(otherwise)
    }

    /// Notes the lines of an item for tests only; false for any other item.
    fn is_test(&mut self, attributes: &[Attribute], last_byte: usize) -> bool {
        let test = attributes.iter().any(is_cfg_test);
        if test {
            let last = self.lexed.line_at(last_byte);
            let first = self.line_of(attributes, last);
            self.syntax.test_lines.push(first..last + 1);
        }
        test
    }

    fn function(&mut self, attributes: &[Attribute], signature: &Signature, block: &Block) {
        let open = block.brace_token.span.open().byte_range();
        let close = block.brace_token.span.close().byte_range();
        if self.is_test(attributes, close.start) {
            return;
        }

        let keyword = signature.fn_token.span;
        let line = keyword.start().line;
        let first_line = self.line_of(attributes, line);
        let body = self.lexed.line_at(open.start)..self.lexed.line_at(close.start) + 1;
        self.syntax.functions.push(Function {
            name: signature.ident.to_string(),
            line,
            tokens: self
                .lexed
                .tokens_in(&(keyword.byte_range().start..close.end)),
            body_tokens: self.lexed.tokens_in(&(open.start..close.end)),
            body_lines: body.len(),
            blank_lines: self.count(&body, |_, text| text.trim().is_empty()),
            code_lines: self.count(&body, |number, text| {
                !text.trim().is_empty() && !self.lexed.only_comment(number)
            }),
            long_because: self.has_reason(first_line, line),
        });
    }

    fn count(&self, lines: &Range<usize>, counts: impl Fn(usize, &str) -> bool) -> usize {
        let numbers = lines.clone();
        numbers
            .filter(|number| counts(*number, self.lines[number - 1]))
            .count()
    }

    /// Whether a reason stands above the first attribute of a function or between attributes.
    fn has_reason(&self, first_line: usize, line: usize) -> bool {
        let is_comment = |text: &&&str| text.trim_start().starts_with("//");
        let above = self.lines[..first_line - 1].iter().rev();
        let between = self.lines[first_line - 1..line - 1].iter();

        above
            .take_while(is_comment)
            .chain(between)
            .any(|text| text.trim_start().starts_with(LONG_BECAUSE))
    }

    /// The path without `.rs` of the file of a module that is declared in this file.
    fn module_path(&self, module: &ItemMod) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        if let Some(named) = module.attrs.iter().find_map(path_attribute) {
            return folder.join(named).with_extension("");
        }

        let stem = self.path.file_stem().unwrap_or_default();
        let root = ["lib", "main", "mod"].iter().any(|name| stem == *name);
        let folder = if root {
            folder.to_owned()
        } else {
            folder.join(stem)
        };
        folder.join(module.ident.to_string())
    }
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
        let end = match (&item.content, &item.semi) {
            (Some((brace, _)), _) => brace.span.close(),
            (None, Some(semicolon)) => semicolon.spans[0],
            (None, None) => item.mod_token.span,
        };
        if !self.is_test(&item.attrs, end.byte_range().start) {
            visit::visit_item_mod(self, item);
        } else if item.content.is_none() {
            let path = self.module_path(item);
            self.syntax.test_modules.push(path);
        }
    }
}

/// Whether an attribute is `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn is_cfg_test(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else {
        return false;
    };
    let condition = list.tokens.to_string().replace(' ', "");
    list.path.is_ident("cfg") && (condition == "test" || condition.starts_with("all(test,"))
}

/// The file of `#[path = "file"]`.
fn path_attribute(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    let syn::Expr::Lit(value) = &pair.value else {
        return None;
    };
    let syn::Lit::Str(file) = &value.lit else {
        return None;
    };
    pair.path.is_ident("path").then(|| file.value())
}
