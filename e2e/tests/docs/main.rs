//! The pages keep what they promise: what they give to copy works, and what users may see is explained.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

mod commands;
mod page;
mod quotes;
mod texts;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kube_ipam::config::{self, LoadedConfig, Purpose};
use kube_ipam::ipam::name::Name;
use kube_ipam_e2e::checkout::{files, root};
use serde_json::{Map, Value, json};

use self::page::{Page, Place, pages};

/// The fenced blocks of a page, each with its language.
fn fenced(page: &str) -> Vec<(&str, &str)> {
    page.split("\n```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap()).collect()
}

/// The mistakes and warnings of a network's config over these node defaults, for a pod. A block that says itself where
/// its addresses are is for a node without defaults.
fn load(config: &Map<String, Value>, defaults: &Value) -> LoadedConfig {
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    let file = folder.path().join("kube-ipam.json");
    if !["store", "dataDir", "etcdConfig"].into_iter().any(|key| config["ipam"].get(key).is_some()) {
        fs::write(&file, defaults.to_string()).unwrap();
    }
    let env = |variable: &str| (variable == "KUBE_IPAM_CONFIG").then(|| file.display().to_string());
    let name = config.get("name").and_then(Value::as_str).unwrap_or("net");
    config::load(config, &Name::new(name).unwrap(), &env, Purpose { add: true, pod: true })
}

fn is_served(loaded: &LoadedConfig, text: &str, path: &Path) {
    if let Err(mistakes) = &loaded.network {
        panic!("{}: {mistakes}\n{text}", path.display());
    }
    assert_eq!(loaded.warnings, [], "{}: {text}", path.display());
}

#[test]
fn every_json_block_of_the_pages_is_a_config_without_a_mistake_or_warning() {
    let embedded = json!({ "store": "embedded", "nodeLabels": { "topology.kubernetes.io/zone": "eu-west-1a" } });
    let mut seen = 0;
    for Page { path, text: page } in pages() {
        for (_, text) in fenced(&page).into_iter().filter(|(language, _)| *language == "json") {
            // A few keys out of an ipam block stand without braces.
            let fragment = text.trim_start().starts_with('"');
            let json = if fragment { format!("{{ \"ipam\": {{ {text} }} }}") } else { text.to_owned() };
            let json: Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{}: {e}\n{text}", path.display()));
            let loaded = match json.as_object().unwrap() {
                config if config.contains_key("ipam") => load(config, &embedded),
                _ => load(json!({ "ipam": { "subnet": "10.1.0.0/24" } }).as_object().unwrap(), &json),
            };
            is_served(&loaded, text, &path);
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen} blocks were found");
}

#[test]
fn every_page_and_example_locks_the_same_keys() {
    let examples = ["install", "install-etcd", "install-embedded"];
    let examples = examples.map(|name| root().join("examples").join(name).join("kube-ipam.json"));
    let pages = pages().into_iter().map(|page| (page.path, page.text));
    let texts = pages.chain(examples.map(|example| (example.clone(), fs::read_to_string(example).unwrap())));
    let mut lists = Vec::new();
    for (path, text) in texts {
        let in_text = text.split("\"locked\": [").skip(1).map(|rest| rest.split(']').next().unwrap().to_owned());
        lists.extend(in_text.map(|list| (path.clone(), list)));
    }
    assert!(lists.len() >= 5, "{lists:?}");
    assert!(lists.iter().all(|(_, list)| list == r#""vrf""#), "{lists:?}");
    let schema = fs::read_to_string(root().join("docs/node-defaults.schema.json")).unwrap();
    assert!(schema.contains(r#"each with its unit: `[\"vrf\"]`"#));
}

#[test]
fn every_definition_in_the_pages_is_served() {
    let mut seen = 0;
    for Page { path, text: page } in pages() {
        for (_, text) in fenced(&page).into_iter().filter(|(language, _)| *language == "yaml") {
            let yaml: Value =
                serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{}: {e}\n{text}", path.display()));
            if yaml["kind"] != "NetworkAttachmentDefinition" {
                continue;
            }
            let config: Value = serde_json::from_str(yaml["spec"]["config"].as_str().unwrap()).unwrap();
            is_served(&load(config.as_object().unwrap(), &json!({ "store": "embedded" })), text, &path);
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    for Page { path, text: page } in pages() {
        for target in page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
            if target.contains("://") {
                continue;
            }
            let (file, section) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(file.exists(), "{}: {target}", path.display());
            if !section.is_empty() {
                let page = fs::read_to_string(&file).unwrap();
                let anchors: Vec<String> = page.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
                assert!(anchors.iter().any(|anchor| anchor == section), "{}: {target}", path.display());
            }
        }
    }
}

/// Inline code that is the path of a source or a folder of this repository. Sources below `src/` may be named without
/// it, and next to others of their folder by their file name alone.
#[test]
fn every_source_that_the_pages_name_is_there() {
    let tops = ["src/", "e2e/", "docs/", "examples/", "benches/", "network-attachments/"];
    let sources = ["src", "e2e"].map(|folder| files(folder, ".rs")).concat();
    let mut seen = 0;
    for page in pages() {
        for snippet in page.snippets().into_iter().filter(|snippet| snippet.place == Place::Inline) {
            let path = snippet.text.as_str();
            let is_plain = path.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
            let is_source = Path::new(path).extension().is_some_and(|extension| extension == "rs");
            if !is_plain || !(is_source || tops.iter().any(|top| path.starts_with(top))) {
                continue;
            }
            let exists = root().join(path).exists() || sources.iter().any(|source| source.ends_with(path));
            assert!(exists, "{snippet}: there is no such file; name the one that has it today");
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} paths were found");
}

#[test]
fn the_index_has_every_page() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    for path in files("docs", "") {
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(name == "README.md" || index.contains(&format!("]({name})")), "docs/README.md lacks {name}");
    }
}

/// The anchor that renderers give a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    text.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

#[test]
fn the_reference_has_every_metric_and_label() {
    let page = fs::read_to_string(root().join("docs/reference-metrics.md")).unwrap();
    let sources = ["src/metrics.rs", "src/controller/metrics.rs"];
    let source = sources.map(|source| fs::read_to_string(root().join(source)).unwrap()).concat();
    // The name of a counter ends with what the text format adds.
    let family = |call: &str| {
        let name = call.split('"').nth(1).unwrap();
        let is_counter = call.split(';').next().unwrap().contains("MetricType::Counter");
        if is_counter { format!("{name}_total") } else { name.to_owned() }
    };
    let families: Vec<String> = source.split("encode_descriptor(").skip(1).map(family).collect();
    assert!(families.len() >= 10, "{families:?}");
    let labels = source.split("(\"").skip(1).filter_map(|rest| rest.split_once("\", ")).map(|(label, _)| label);
    for name in families.iter().map(String::as_str).chain(labels.filter(|label| label.chars().all(char::is_alphabetic)))
    {
        assert!(page.contains(&format!("`{name}`")), "docs/reference-metrics.md lacks `{name}`");
    }
    let shown = page.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("kube_ipam_"));
    for name in shown.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()) {
        assert!(families.contains(&format!("kube_ipam_{name}")), "there is no kube_ipam_{name}");
    }
}

/// A text in which `<>` stands for every part that differs from case to case, and each white space is one blank.
fn outline(text: &str, (open, close): (char, char)) -> String {
    let mut outline = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(open) {
        let (_, after) = after.split_once(close).unwrap_or(("", after));
        // A value that is printed with quotes has them in the page, and not in the source.
        match (before.strip_suffix('"'), after.strip_prefix('"')) {
            (Some(before), Some(after)) => (outline, rest) = (outline + before + "<>", after),
            _ => (outline, rest) = (outline + before + "<>", after),
        }
    }
    (outline + rest).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a page shows as code, as outlines.
fn shown(page: &str) -> BTreeSet<String> {
    let mut shown: BTreeSet<String> = fenced(page).iter().map(|(_, text)| outline(text, ('<', '>'))).collect();
    for prose in page.split("\n```").step_by(2) {
        shown.extend(prose.split('`').skip(1).step_by(2).map(|code| outline(code, ('<', '>'))));
    }
    shown
}

/// What stands before the text of an error: thiserror's attribute, and the four ways in which a store fails.
const TEXT_FOLLOWS: [&str; 6] = ["#[error(", "Unavailable(", "Ambiguous(", "Denied(", "Corrupt(", "denied("];

/// The text literal at the beginning of a piece of source, if one is there.
fn literal(source: &str) -> Option<String> {
    let mut chars = source.trim_start().strip_prefix(['"', 'r'])?.chars().skip_while(|c| matches!(c, '#' | '"'));
    let mut text = String::new();
    while let Some(c) = chars.next().filter(|c| *c != '"') {
        match c {
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    Some(text)
}

/// The texts of all errors, as outlines.
fn errors() -> BTreeSet<String> {
    let mut errors = BTreeSet::new();
    for path in files("src", ".rs") {
        // What a test says to whoever runs it.
        if ["/tests", "/conformance"].iter().any(|folder| path.to_string_lossy().contains(folder)) {
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        let program = source.split("\nmod tests {").next().unwrap();
        for rest in TEXT_FOLLOWS.iter().flat_map(|opening| program.split(opening).skip(1)) {
            let rest = rest.trim_start();
            let rest = rest.strip_prefix("Cause::new(").unwrap_or(rest).trim_start();
            let Some(text) = literal(rest.strip_prefix("format!(").unwrap_or(rest)) else { continue };
            // Braces that are doubled are meant as such.
            let text = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
            errors.insert(outline(&text, ('{', '}')).replace('\u{1}', "{").replace('\u{2}', "}"));
        }
    }
    // These give on what another error says.
    errors.retain(|text| text.chars().any(char::is_alphabetic));
    errors
}

#[test]
fn the_reference_explains_every_error() {
    let shown = shown(&fs::read_to_string(root().join("docs/reference-errors.md")).unwrap());
    // Behind the text of an error comes what caused it, where something did.
    let is_shown = |text: &String| shown.contains(text) || shown.contains(&format!("{text}: <>"));
    let missing: Vec<String> = errors().into_iter().filter(|text| !is_shown(text)).collect();
    assert!(missing.is_empty(), "docs/reference-errors.md lacks\n{}", missing.join("\n"));
}

#[test]
fn the_reference_has_every_label() {
    let page = fs::read_to_string(root().join("docs/reference-errors.md")).unwrap();
    for source in ["src/error.rs", "src/cluster/error.rs", "src/ipam/refusal/class.rs"] {
        let source = fs::read_to_string(root().join(source)).unwrap();
        let body = source.split("fn label(").nth(1).unwrap().split("\n    }\n").next().unwrap().to_owned();
        let labels: Vec<&str> = body.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(!labels.is_empty());
        for label in labels {
            assert!(page.contains(&format!("`{label}`")), "docs/reference-errors.md lacks `{label}`");
        }
    }
}

#[test]
fn every_test_that_the_invariants_name_exists() {
    let page = fs::read_to_string(root().join("docs/invariants.md")).unwrap();
    let table = page.split("## Which test shows it").nth(1).unwrap();
    let sources: Vec<String> = ["src", "e2e"]
        .iter()
        .flat_map(|folder| files(folder, ".rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let named: Vec<&str> = table.split('`').skip(1).step_by(2).filter(|code| !code.contains(['/', '.'])).collect();
    assert!(!named.is_empty());
    for test in named {
        // The trials on a cluster have their names as texts.
        let names = [format!("fn {test}("), format!("\"{test}\"")];
        let exists = sources.iter().any(|source| names.iter().any(|name| source.contains(name)));
        assert!(exists, "there is no test {test}");
    }
}

/// Verbs and options are generated from the definition of the command line (src/cli/reference.rs).
#[test]
fn the_reference_has_the_version_of_today() {
    let page = fs::read_to_string(root().join("docs/reference-cli.md")).unwrap();
    let version = kube_ipam::cli::command().render_version();
    assert!(page.contains(version.trim()), "docs/reference-cli.md lacks {version}");
}
