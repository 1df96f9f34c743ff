//! A list of documents, written element by element: as JSON in serde_json's layout, or as YAML.

use std::io::Write;

use serde::Serialize;

use super::CliError;
use super::format::Encoding;

/// A list that was started. Without `end`, a JSON list is invalid, so that no program takes a part for the whole.
pub(crate) struct StreamList<'a> {
    out: &'a mut dyn Write,
    encoding: Encoding,
    is_empty: bool,
}

impl<'a> StreamList<'a> {
    pub(super) fn new(out: &'a mut dyn Write, encoding: Encoding) -> Self {
        Self { out, encoding, is_empty: true }
    }

    /// Adds an element.
    pub(crate) fn push(&mut self, element: &impl Serialize) -> Result<(), CliError> {
        let is_first = std::mem::take(&mut self.is_empty);
        let before = match (self.encoding, is_first) {
            (Encoding::Json, true) => "[\n  ",
            (Encoding::Json, false) => ",\n  ",
            (Encoding::Yaml, true) => "- ",
            (Encoding::Yaml, false) => "\n- ",
        };
        // Line breaks inside of texts are escaped.
        let text = self.encoding.encode(element)?.replace('\n', "\n  ");
        Ok(write!(self.out, "{before}{text}")?)
    }

    /// Ends the list.
    pub(crate) fn end(self) -> Result<(), CliError> {
        let after = match (self.encoding, self.is_empty) {
            (_, true) => "[]\n",
            (Encoding::Json, false) => "\n]\n",
            (Encoding::Yaml, false) => "\n",
        };
        self.out.write_all(after.as_bytes())?;
        Ok(self.out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn printed(encoding: Encoding, elements: &[Value]) -> Result<String, Box<dyn std::error::Error>> {
        let mut out = Vec::new();
        let mut list = StreamList::new(&mut out, encoding);
        elements.iter().try_for_each(|element| list.push(element))?;
        list.end()?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn elements_one_by_one_read_as_the_whole_list_does() -> Result<(), Box<dyn std::error::Error>> {
        for elements in
            [vec![], vec![json!({ "a": [1, "two\nlines"], "b": {} })], vec![json!([]), json!({ "c": null })]]
        {
            let whole = serde_json::to_string_pretty(&Value::from(elements.clone()))?;
            assert_eq!(printed(Encoding::Json, &elements)?, whole + "\n");
        }
        Ok(())
    }

    #[test]
    fn elements_are_items_of_one_yaml_list() -> Result<(), Box<dyn std::error::Error>> {
        let elements = [json!({ "address": "10.1.0.10", "holders": [{ "node": "n", "pod": {} }] }), json!({ "a": 1 })];
        insta::assert_snapshot!(printed(Encoding::Yaml, &elements)?, @r#"
        - address: "10.1.0.10"
          holders:
          - node: "n"
            pod: {}
        - a: 1
        "#);
        assert_eq!(printed(Encoding::Yaml, &[])?, "[]\n");
        Ok(())
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<u32>().prop_map(Value::from),
            "(?s:.{0,12})".prop_map(Value::from),
            "[ \\-#:'\"|>~nNyYtT0-9.\n]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            let object = proptest::collection::vec(("[a-z]{1,4}", inner.clone()), 0..3);
            prop_oneof![
                proptest::collection::vec(inner, 0..3).prop_map(Value::from),
                object.prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_list_reads_back_as_it_was(elements in proptest::collection::vec(values(), 0..4)) {
            for encoding in [Encoding::Json, Encoding::Yaml] {
                let text = printed(encoding, &elements).map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert!(!text.replace('\n', "").contains(super::super::printable::is_active), "{:?}", text);
                let read: Vec<Value> = serde_saphyr::from_str(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
                prop_assert_eq!(&read, &elements, "{}", text);
            }
        }
    }
}
