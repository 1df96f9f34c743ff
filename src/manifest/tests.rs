#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use serde_json::json;

use super::{Node, Value, documents, embedded};

fn one(text: &str) -> Node {
    let (mut documents, errors) = documents(text);
    assert_eq!(errors, []);
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

/// The source of the node at this path in the configuration of `spec.config`.
fn config_part<'a>(text: &'a str, path: &[&str]) -> &'a str {
    let document = one(text);
    let config = document.at(&["spec", "config"]).unwrap();
    let Value::Scalar(scalar) = &config.value else { panic!("{config:?}") };
    let config = embedded(text, &config.span, scalar).unwrap();
    &text[config.at(path).unwrap().span.clone()]
}

#[test]
fn values_know_their_places() {
    let text = "a: 1\nb:\n  - x\n  - \"y z\"\nc: {d: 'e'}\n";
    let document = one(text);
    let part = |node: &Node| text[node.span.clone()].to_owned();
    assert_eq!(document.to_json(), json!({"a": 1, "b": ["x", "y z"], "c": {"d": "e"}}));
    assert_eq!(part(document.get("a").unwrap()), "1");
    assert_eq!(part(&document.get("b").unwrap().elements()[1]), "\"y z\"");
    assert_eq!(part(document.at(&["c", "d"]).unwrap()), "'e'");
    assert_eq!(part(document.get("c").unwrap()), "{d: 'e'}");
    assert_eq!(&text[document.member("c").unwrap().key_span.clone()], "c");
}

#[test]
fn a_place_inside_the_json_of_a_string_is_one_of_the_file() {
    struct Case {
        name: &'static str,
        text: &'static str,
    }
    let cases = [
        Case {
            name: "literal",
            text: "spec:\n  config: |\n    {\n      \"ipam\": {\"subnet\": \"10.1.0.0/16\" }\n    }\n",
        },
        Case {
            name: "literal-",
            text: "spec:\n  config: |-  # it\n      {  \"ipam\": {\n   \n      \"subnet\":\n \n       \"10.1.0.0/16\"}}\n",
        },
        Case {
            name: "folded",
            text: "spec:\n  config: >\n    { \"ipam\":\n      {\"subnet\": \"10.1.0.0/16\" }\n    }\n",
        },
        Case {
            name: "single quoted",
            text: "spec:\n  config: '{\"ipam\":\n     {\"note\": \"it''s\", \"subnet\": \"10.1.0.0/16\"}}'\n",
        },
        Case {
            name: "plain flow is no string, so quoted flow",
            text: "{\"spec\": {\"config\": '{\"ipam\": {\"subnet\": \"10.1.0.0/16\"}}'}}",
        },
        Case {
            name: "not ASCII",
            text: "spec:\n  config: |\n    {\"ü\": \"ä\", \"ipam\": {\"subnet\": \"10.1.0.0/16\"}}\n",
        },
        Case {
            name: "CRLF",
            text: "spec:\r\n  config: |\r\n    {\"a\": 1,\r\n     \"ipam\": {\"subnet\": \"10.1.0.0/16\"}}\r\n",
        },
    ];
    for Case { name, text } in cases {
        assert_eq!(config_part(text, &["ipam", "subnet"]), "\"10.1.0.0/16\"", "{name}");
    }
    let escaped = "{\"spec\": {\"config\": \"{\\\"ipam\\\": {\\n  \\\"subnet\\\": \\\"10.1.0.0\\/16\\\"}}\"}}";
    assert_eq!(config_part(escaped, &["ipam", "subnet"]), "\\\"10.1.0.0\\/16\\\"");
}

#[test]
fn broken_json_in_a_string_is_shown_where_it_breaks() {
    let text = "spec:\n  config: |\n    {\"ipam\": {\n      \"subnet\": \"10.1.0.0/16\",\n    }}\n";
    let document = one(text);
    let config = document.at(&["spec", "config"]).unwrap();
    let Value::Scalar(scalar) = &config.value else { panic!("{config:?}") };
    let error = embedded(text, &config.span, scalar).unwrap_err();
    assert_eq!(error.message, "trailing comma");
    assert_eq!(&text[error.span.start..], "}}\n");
}

#[test]
fn comments_are_passed_over_wherever_they_stand() {
    let text = "# first\na: # at its key\n  # above its value\n  b: 1 # behind it\n# at the end\n  # indented\n";
    assert_eq!(one(text).to_json(), json!({"a": {"b": 1}}));
}

#[test]
fn documents_after_a_broken_one_are_read() {
    let (found, errors) = documents("a: 1\n---\nb: [1\n---\nc: 3\n---\n# nothing\n---\nd: 4\n");
    let found: Vec<_> = found.iter().map(Node::to_json).collect();
    assert_eq!(found, [json!({"a": 1}), json!({"c": 3}), json!({"d": 4})]);
    assert_eq!(errors.len(), 1);
}

#[test]
fn anchors_aliases_and_merge_keys_are_resolved() {
    let document = one("base: &base {a: 1, b: 2}\nlist: [*base]\nown:\n  <<: *base\n  b: 3\n");
    assert_eq!(
        document.to_json(),
        json!({"base": {"a": 1, "b": 2}, "list": [{"a": 1, "b": 2}], "own": {"b": 3, "a": 1}})
    );
}

#[test]
fn aliases_of_aliases_end() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..10 {
        let inner = vec![format!("*a{}", i - 1); 10].join(", ");
        text.push_str(&format!("a{i}: &a{i} [{inner}]\n"));
    }
    let (_, errors) = documents(&text);
    assert!(errors[0].message.starts_with("more than 1000000 values"), "{errors:?}");
}

#[test]
fn plain_scalars_are_what_kubectl_takes_them_for() {
    let cases = [
        ("10.188.0.218", json!("10.188.0.218")),
        ("fd00::1", json!("fd00::1")),
        ("4", json!(4)),
        ("010", json!(8)),
        ("08", json!(8.0)),
        ("0x1F", json!(31)),
        ("-3", json!(-3)),
        ("1_000", json!(1000)),
        ("1.5", json!(1.5)),
        ("1e3", json!(1000.0)),
        ("yes", json!(true)),
        ("Off", json!(false)),
        ("~", json!(null)),
        ("inf", json!("inf")),
        ("e5", json!("e5")),
        ("'4'", json!("4")),
        ("!!str 4", json!("4")),
    ];
    for (text, expected) in cases {
        assert_eq!(one(&format!("v: {text}\n")).get("v").unwrap().to_json(), expected, "{text}");
    }
}
