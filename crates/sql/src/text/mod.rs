//! From text to a syntax tree: the dialect's own grammar, with the place of every node.

pub(crate) mod ast;
mod expression;
mod function;
mod lexer;
mod literal;
mod parser;
mod query;
mod relation;
mod statement;

pub(crate) use lexer::hex_bytes;
pub(crate) use parser::{parse, parse_type};
