//! A JSON list in serde_json's layout, written element by element.

use std::io::{self, Write};

use serde::Serialize;

use super::CliError;
use super::printable::printable_json;

/// A list that was started. Without `end` it is invalid JSON, so that no program takes a part for the whole.
pub(crate) struct StreamList<'a> {
    out: &'a mut dyn Write,
    is_empty: bool,
}

impl<'a> StreamList<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, is_empty: true }
    }

    /// Adds an element.
    pub(crate) fn push(&mut self, element: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(element).map_err(io::Error::from)?;
        // In JSON, no string contains a raw line break.
        let text = printable_json(&text).replace('\n', "\n  ");
        let before = if std::mem::take(&mut self.is_empty) { "[" } else { "," };
        Ok(write!(self.out, "{before}\n  {text}")?)
    }

    /// Ends the list.
    pub(crate) fn end(self) -> Result<(), CliError> {
        self.out.write_all(if self.is_empty { b"[]\n" } else { b"\n]\n" })?;
        Ok(self.out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn elements_one_by_one_read_as_the_whole_list_does() -> Result<(), Box<dyn std::error::Error>> {
        for elements in
            [vec![], vec![json!({ "a": [1, "two\nlines"], "b": {} })], vec![json!([]), json!({ "c": null })]]
        {
            let mut out = Vec::new();
            let mut list = StreamList::new(&mut out);
            elements.iter().try_for_each(|element| list.push(element))?;
            list.end()?;
            let whole = serde_json::to_string_pretty(&Value::from(elements))?;
            assert_eq!(String::from_utf8(out)?, whole + "\n");
        }
        Ok(())
    }
}
