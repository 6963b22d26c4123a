//! JSON records: documents one after the other, a row path, and one array whose elements become
//! rows.

use bytestring::ByteString;

use super::coerce::from_json;
use super::path::{Step, parse_path};
use super::reader::{Malformed, Reader, Token, TokenKind, unescaped};
use super::{Decoder, Target};
use crate::value::{ErrorName, RowError, Value};

/// The paths of a schema as a tree, so that one pass over a document fills all columns.
#[derive(Debug)]
pub(crate) struct JsonFormat {
    row_path: Vec<Step>,
    root: Node,
    /// The columns that come from the elements of the flattened array.
    repeated: Vec<usize>,
}

/// The columns at and below one place of the document. Columns are numbered from 0.
#[derive(Debug, Default)]
struct Node {
    /// Columns that take the value itself.
    columns: Vec<usize>,
    /// Columns that take the whole array (`[0:]`).
    arrays: Vec<usize>,
    fields: Vec<(String, Node)>,
    elements: Vec<(usize, Node)>,
    /// The place of every element, each a row.
    each: Option<Box<Node>>,
}

impl JsonFormat {
    pub(super) fn new(
        row_path: &str,
        mappings: &[String],
        targets: &[Target],
    ) -> Result<Self, String> {
        let mut format = Self {
            row_path: parse_row_path(row_path)?,
            root: Node::default(),
            repeated: Vec::new(),
        };

        let mut flattened: Option<Vec<Step>> = None;
        for (column, (mapping, target)) in mappings.iter().zip(targets).enumerate() {
            let steps = parse_path(mapping)?;
            if let Some(all) = inner_array(&steps) {
                check_flattened(&mut flattened, &steps, all, mapping)?;
                format.repeated.push(column);
            }

            // Text never fails, so nothing is lost when text is not read.
            if target.needed || !target.sql_type.is_text() {
                format.root.add(&steps, column);
            }
        }

        if let Some(array) = &flattened {
            format.root.mark_each(array);
        }
        Ok(format)
    }
}

impl JsonFormat {
    /// Empties the columns that come from the elements of the flattened array.
    fn clear_repeated(&self, row: &mut [Value]) {
        for column in &self.repeated {
            if let Some(place) = row.get_mut(column + 1) {
                *place = Value::Null;
            }
        }
    }
}

/// The steps to the row; an array at the end gives a row per element with and without `[0:]`.
fn parse_row_path(row_path: &str) -> Result<Vec<Step>, String> {
    let mut steps = parse_path(row_path)?;
    if steps.last() == Some(&Step::All) {
        steps.pop();
    }

    if steps.contains(&Step::All) {
        return Err("RecordRowPath may have [0:] at its end only".to_owned());
    }
    Ok(steps)
}

/// The place of a `[0:]` that further steps follow.
fn inner_array(steps: &[Step]) -> Option<usize> {
    let all = steps.iter().position(|step| *step == Step::All)?;
    (all + 1 < steps.len()).then_some(all)
}

/// Only one array may be flattened, at one level.
fn check_flattened(
    known: &mut Option<Vec<Step>>,
    steps: &[Step],
    all: usize,
    mapping: &str,
) -> Result<(), String> {
    let array = &steps[..all];
    if steps[all + 1..].contains(&Step::All) {
        return Err(format!(
            "the mapping '{mapping}' flattens two levels; one is possible"
        ));
    }
    if known.as_ref().is_some_and(|known| known != array) {
        return Err(format!(
            "the mapping '{mapping}' flattens a second array; one is possible"
        ));
    }
    *known = Some(array.to_vec());
    Ok(())
}

impl Node {
    fn add(&mut self, steps: &[Step], column: usize) {
        let Some((step, rest)) = steps.split_first() else {
            self.columns.push(column);
            return;
        };
        match step {
            Step::All if rest.is_empty() => self.arrays.push(column),
            Step::All => {
                let each = self.each.get_or_insert_default();
                each.add(rest, column);
            }
            Step::Field(name) => {
                let field = self.field(name);
                field.add(rest, column);
            }
            Step::Element(index) => {
                let element = self.element(*index);
                element.add(rest, column);
            }
        }
    }

    /// Makes the array a flattened one even if none of the array's columns is read.
    fn mark_each(&mut self, steps: &[Step]) {
        match steps.split_first() {
            None => {
                self.each.get_or_insert_default();
            }
            Some((Step::Field(name), rest)) => {
                let field = self.field(name);
                field.mark_each(rest);
            }
            Some((Step::Element(index), rest)) => {
                let element = self.element(*index);
                element.mark_each(rest);
            }
            Some((Step::All, _)) => {}
        }
    }

    fn field(&mut self, name: &str) -> &mut Self {
        let known = self.fields.iter().position(|(field, _)| field == name);
        let place = known.unwrap_or_else(|| {
            self.fields.push((name.to_owned(), Self::default()));
            self.fields.len() - 1
        });
        &mut self.fields[place].1
    }

    fn element(&mut self, index: usize) -> &mut Self {
        let known = self
            .elements
            .iter()
            .position(|(element, _)| *element == index);
        let place = known.unwrap_or_else(|| {
            self.elements.push((index, Self::default()));
            self.elements.len() - 1
        });
        &mut self.elements[place].1
    }

    fn child(&self, key: &[u8], escaped: bool) -> Option<&Self> {
        if escaped {
            let key = unescaped(&String::from_utf8_lossy(key));
            return self
                .fields
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, node)| node);
        }
        self.fields
            .iter()
            .find(|(name, _)| name.as_bytes() == key)
            .map(|(_, node)| node)
    }
}

/// The rows of one record.
pub(crate) struct JsonRows<'a> {
    format: &'a JsonFormat,
    text: ByteString,
    at: usize,
    /// Whether a document was found.
    any: bool,
    /// The place after the last element of the row array, and whether none was read yet.
    rows: Option<(usize, bool)>,
    /// The same for the flattened array, with the node of the elements.
    elements: Option<(usize, bool, &'a Node)>,
}

/// One pass over a document.
struct Walk<'r, 'a> {
    text: &'r ByteString,
    decoder: &'r Decoder,
    row: &'r mut Vec<Value>,
    failure: Option<RowError>,
    /// The place of the flattened array's first element.
    array: Option<(usize, &'a Node)>,
}

impl<'a> JsonRows<'a> {
    pub(super) fn new(format: &'a JsonFormat, text: ByteString) -> Self {
        Self {
            format,
            text,
            at: 0,
            any: false,
            rows: None,
            elements: None,
        }
    }

    pub(super) fn next_row(
        &mut self,
        decoder: &Decoder,
        row: &mut Vec<Value>,
    ) -> Option<Result<(), RowError>> {
        loop {
            match self.next_step(decoder, row) {
                Ok(None) => return None,
                Ok(Some(Next::Row(result))) => return Some(result),
                Ok(Some(Next::Again)) => {}
                Err(Malformed(at)) => {
                    self.stop();
                    let message = format!("the record is not JSON at byte {at}");
                    return Some(Err(RowError::new(ErrorName::Parse, message)));
                }
            }
        }
    }

    /// The next of the elements of a flattened array, of the rows of an array, or of the documents.
    fn next_step(
        &mut self,
        decoder: &Decoder,
        row: &mut Vec<Value>,
    ) -> Result<Option<Next>, Malformed> {
        if self.elements.is_some() {
            self.next_element(decoder, row).map(Some)
        } else if self.rows.is_some() {
            self.next_of_rows(decoder, row).map(Some)
        } else {
            self.next_document(decoder, row)
        }
    }

    fn stop(&mut self) {
        self.at = self.text.len();
        self.any = true;
        self.rows = None;
        self.elements = None;
    }

    fn next_document(
        &mut self,
        decoder: &Decoder,
        row: &mut Vec<Value>,
    ) -> Result<Option<Next>, Malformed> {
        let text = self.text.clone();
        let mut reader = Reader::new(&text, self.at);
        reader.skip_blanks();
        let Some(first) = reader.peek() else {
            self.at = text.len();
            return self.end_of_documents();
        };

        self.any = true;
        if first == b'{' && self.format.row_path.is_empty() {
            let next = self.row_at(&mut reader, decoder, row)?;
            self.at = reader.at;
            return Ok(Some(next));
        }

        // The whole document is checked before the first row is made.
        let document = reader.value()?;
        self.at = reader.at;
        self.found_rows(document, decoder, row).map(Some)
    }

    /// A record without a document is malformed.
    fn end_of_documents(&mut self) -> Result<Option<Next>, Malformed> {
        let had_any = std::mem::replace(&mut self.any, true);
        if had_any { Ok(None) } else { Err(Malformed(0)) }
    }

    /// The row, or the rows, that RecordRowPath finds in a document.
    fn found_rows(
        &mut self,
        document: Token,
        decoder: &Decoder,
        row: &mut Vec<Value>,
    ) -> Result<Next, Malformed> {
        let text = self.text.clone();
        let Some(found) = find(&text, document, &self.format.row_path)? else {
            return Ok(not_an_object("RecordRowPath finds nothing in the record"));
        };
        if found.kind == TokenKind::Array {
            self.rows = Some((found.start + 1, true));
            return Ok(Next::Again);
        }

        let mut reader = Reader::new(&text, found.start);
        self.row_at(&mut reader, decoder, row)
    }

    fn next_of_rows(&mut self, decoder: &Decoder, row: &mut Vec<Value>) -> Result<Next, Malformed> {
        let Some((at, mut first)) = self.rows.take() else {
            return Ok(Next::Again);
        };
        let text = self.text.clone();
        let mut reader = Reader::new(&text, at);
        if !reader.next_element(&mut first)? {
            return Ok(Next::Again);
        }

        let next = self.row_at(&mut reader, decoder, row)?;
        self.rows = Some((reader.at, false));
        Ok(next)
    }

    /// Fills the row from the object at the reader's place.
    fn row_at(
        &mut self,
        reader: &mut Reader<'_>,
        decoder: &Decoder,
        row: &mut Vec<Value>,
    ) -> Result<Next, Malformed> {
        if reader.peek() != Some(b'{') {
            reader.value()?;
            return Ok(not_an_object("the record is not a JSON object"));
        }

        decoder.clear(row);
        let mut walk = Walk {
            text: &self.text,
            decoder,
            row,
            failure: None,
            array: None,
        };
        walk.visit(reader, &self.format.root)?;
        if let Some(failure) = walk.failure {
            return Ok(Next::Row(Err(failure)));
        }
        if let Some((start, node)) = walk.array {
            self.elements = Some((start, true, node));
            return Ok(Next::Again);
        }
        Ok(Next::Row(Ok(())))
    }

    fn next_element(&mut self, decoder: &Decoder, row: &mut Vec<Value>) -> Result<Next, Malformed> {
        let Some((at, mut first, node)) = self.elements.take() else {
            return Ok(Next::Again);
        };
        let mut reader = Reader::new(&self.text, at);
        if !reader.next_element(&mut first)? {
            return Ok(Next::Again);
        }

        self.format.clear_repeated(row);
        let mut walk = Walk {
            text: &self.text,
            decoder,
            row,
            failure: None,
            array: None,
        };
        walk.visit(&mut reader, node)?;
        let failure = walk.failure;
        self.elements = Some((reader.at, false, node));
        Ok(Next::Row(failure.map_or(Ok(()), Err)))
    }
}

/// A row, or the advice to look again.
enum Next {
    Row(Result<(), RowError>),
    Again,
}

fn not_an_object(message: &str) -> Next {
    Next::Row(Err(RowError::new(ErrorName::Parse, message)))
}

/// The value at a path inside of a document.
fn find(text: &str, document: Token, path: &[Step]) -> Result<Option<Token>, Malformed> {
    let mut found = document;
    for step in path {
        let mut reader = Reader::new(text, found.start);
        let next = match (step, found.kind) {
            (Step::Field(name), TokenKind::Object) => find_field(&mut reader, name)?,
            (Step::Element(index), TokenKind::Array) => find_element(&mut reader, *index)?,
            _ => None,
        };
        let Some(next) = next else {
            return Ok(None);
        };
        found = next;
    }
    Ok(Some(found))
}

fn find_field(reader: &mut Reader<'_>, name: &str) -> Result<Option<Token>, Malformed> {
    reader.open_object()?;
    let mut first = true;
    let mut found = None;
    while let Some((key, _)) = reader.next_key(&mut first)? {
        let matches = key == name.as_bytes();
        let value = reader.value()?;
        if matches {
            found = Some(value);
        }
    }
    Ok(found)
}

fn find_element(reader: &mut Reader<'_>, index: usize) -> Result<Option<Token>, Malformed> {
    reader.open_array()?;
    let mut first = true;
    let mut place = 0;
    while reader.next_element(&mut first)? {
        let value = reader.value()?;
        if place == index {
            return Ok(Some(value));
        }
        place += 1;
    }
    Ok(None)
}

impl<'a> Walk<'_, 'a> {
    fn visit(&mut self, reader: &mut Reader<'_>, node: &'a Node) -> Result<(), Malformed> {
        let start = reader.at;
        let kind = self.inside(reader, node)?;

        let token = Token {
            kind,
            start,
            end: reader.at,
        };
        if kind == TokenKind::Array {
            self.put_array(token, node);
        }
        for column in &node.columns {
            self.put(*column, token);
        }
        Ok(())
    }

    /// Walks into the members or elements that have columns; skips any other value.
    fn inside(&mut self, reader: &mut Reader<'_>, node: &'a Node) -> Result<TokenKind, Malformed> {
        match reader.peek() {
            Some(b'{') if !node.fields.is_empty() => {
                self.fields(reader, node)?;
                Ok(TokenKind::Object)
            }
            Some(b'[') if !node.elements.is_empty() => {
                self.elements(reader, node)?;
                Ok(TokenKind::Array)
            }
            _ => Ok(reader.value()?.kind),
        }
    }

    fn put_array(&mut self, token: Token, node: &'a Node) {
        if let Some(each) = &node.each {
            self.array = Some((token.start + 1, each));
        }
        for column in &node.arrays {
            self.put(*column, token);
        }
    }

    fn fields(&mut self, reader: &mut Reader<'_>, node: &'a Node) -> Result<(), Malformed> {
        reader.open_object()?;
        let mut first = true;
        while let Some((key, escaped)) = reader.next_key(&mut first)? {
            match node.child(key, escaped) {
                Some(child) => self.visit(reader, child)?,
                None => {
                    reader.value()?;
                }
            }
        }
        Ok(())
    }

    fn elements(&mut self, reader: &mut Reader<'_>, node: &'a Node) -> Result<(), Malformed> {
        reader.open_array()?;
        let mut first = true;
        let mut place = 0;
        while reader.next_element(&mut first)? {
            let child = node.elements.iter().find(|(index, _)| *index == place);
            match child {
                Some((_, child)) => self.visit(reader, child)?,
                None => {
                    reader.value()?;
                }
            }
            place += 1;
        }
        Ok(())
    }

    /// Converts a value for a column; the first failure is kept.
    fn put(&mut self, column: usize, token: Token) {
        let Some(target) = self.decoder.columns.get(column) else {
            return;
        };
        match from_json(self.text, token, &target.sql_type) {
            Ok(value) if target.needed => self.row[column + 1] = value,
            Ok(_) => {}
            Err(error) => {
                self.failure.get_or_insert(error);
            }
        }
    }
}
