//! A bill: lines, each a quantity and a price, and their sum.

use serde::Serialize;

/// One way to do the work, with the costs of a month.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Bill {
    pub(crate) way: String,
    pub(crate) lines: Vec<Line>,
    /// Limits and differences that the sum does not show.
    pub(crate) notes: Vec<String>,
    /// False if the consumers do not get the same, or cannot.
    pub(crate) delivers_the_same: bool,
}

/// One line of a bill.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Line {
    pub(crate) item: String,
    pub(crate) quantity: f64,
    pub(crate) unit: &'static str,
    /// US dollars for one unit.
    pub(crate) price: f64,
}

impl Line {
    /// US dollars a month.
    pub(crate) fn cost(&self) -> f64 {
        self.quantity * self.price
    }
}

/// A quantity with its unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantity(pub(crate) f64, pub(crate) &'static str);

impl Bill {
    pub(crate) fn new(way: impl Into<String>) -> Self {
        Self {
            way: way.into(),
            lines: Vec::new(),
            notes: Vec::new(),
            delivers_the_same: true,
        }
    }

    /// Adds a line, unless there is nothing to pay for.
    pub(crate) fn add(&mut self, item: impl Into<String>, quantity: Quantity, price: f64) {
        let Quantity(quantity, unit) = quantity;
        if quantity > 0.0 {
            self.lines.push(Line {
                item: item.into(),
                quantity,
                unit,
                price,
            });
        }
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// US dollars a month.
    pub(crate) fn total(&self) -> f64 {
        let costs = self.lines.iter().map(Line::cost);
        costs.sum()
    }
}
