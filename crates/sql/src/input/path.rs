//! JSON paths of a schema: `$.a.b`, `$['a b']`, `$.a[2]`, `$.a[0:]`, `$.a[0:].b`.

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Field(String),
    Element(usize),
    /// `[0:]`: all elements.
    All,
}

/// The steps of a path after the `$`.
pub(crate) fn parse_path(path: &str) -> Result<Vec<Step>, String> {
    let wrong = |expectation: &str| format!("the path '{path}' wants {expectation}");
    let mut rest = path
        .trim()
        .strip_prefix('$')
        .ok_or_else(|| wrong("a $ at its front"))?;
    let mut steps = Vec::new();

    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            if end == 0 {
                return Err(wrong("a name after the dot"));
            }

            let name = after[..end].to_owned();
            steps.push(Step::Field(name));
            rest = &after[end..];
        } else if let Some((quote, after)) = bracketed(rest) {
            let close = format!("{quote}]");
            let end = after
                .find(&close)
                .ok_or_else(|| wrong("a closing bracket"))?;
            let name = after[..end].to_owned();
            steps.push(Step::Field(name));
            rest = &after[end + close.len()..];
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = after.find(']').ok_or_else(|| wrong("a closing bracket"))?;
            let step = element(&after[..end]);
            steps.push(step.ok_or_else(|| wrong("[n] or [0:]"))?);
            rest = &after[end + 1..];
        } else {
            return Err(wrong(". or [ between its parts"));
        }
    }
    Ok(steps)
}

/// The quote of `['` or `["`, and the text after it.
fn bracketed(rest: &str) -> Option<(char, &str)> {
    let after = rest.strip_prefix('[')?;
    let quote = after
        .chars()
        .next()
        .filter(|quote| matches!(quote, '\'' | '"'))?;
    Some((quote, &after[1..]))
}

fn element(text: &str) -> Option<Step> {
    match text.trim() {
        "0:" | "*" | ":" => Some(Step::All),
        number => {
            let element = number.parse().ok();
            element.map(Step::Element)
        }
    }
}
