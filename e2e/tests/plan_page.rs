//! docs/plan-in-a-pull-request.md is true: its files, in its order, with its commands, give its output.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use kube_ipam_e2e::binary;
use kube_ipam_e2e::checkout::root;
use serde_json::Value;

/// The fenced blocks of the page, each with its language.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    page.split("\n```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap()).collect()
}

/// Runs a command of the page in this folder.
fn run(folder: &Path, command: &str) -> Output {
    let args = command.strip_prefix("kube-ipam ").unwrap().split(' ');
    Command::new(binary::kube_ipam()).args(args).current_dir(folder).env_clear().output().unwrap()
}

#[test]
fn the_page_goes_from_a_green_to_a_red_and_to_a_green_check() {
    let page = fs::read_to_string(root().join("docs/plan-in-a-pull-request.md")).unwrap();
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    fs::create_dir(folder.path().join("manifests")).unwrap();
    let mut statuses = Vec::new();
    let mut alerts = Vec::new();
    for (language, text) in blocks(&page) {
        match language {
            "yaml" => {
                // The first line names the file. It is not part of it.
                let Some((name, content)) = text.split_once('\n').filter(|(name, _)| name.starts_with("# manifests/"))
                else {
                    continue;
                };
                fs::write(folder.path().join(name.trim_start_matches("# ")), content.to_owned() + "\n").unwrap();
            }
            "console" => {
                let (command, expected) = text.strip_prefix("$ ").unwrap().split_once('\n').unwrap();
                let output = run(folder.path(), command);
                let printed = [output.stdout, output.stderr].concat();
                assert_eq!(String::from_utf8(printed).unwrap().trim_end(), expected, "{command}");
                statuses.push(output.status.code());
                let sarif = run(folder.path(), &format!("{command} -o sarif"));
                assert_eq!(sarif.status.code(), output.status.code());
                let log: Value = serde_json::from_slice(&sarif.stdout).unwrap();
                alerts.push(log["runs"][0]["results"].clone());
            }
            _ => {}
        }
    }
    assert_eq!(statuses, [Some(0), Some(1), Some(0)]);
    let [Value::Array(before), Value::Array(red), Value::Array(after)] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((before.len(), after.len()), (0, 0));
    let [alert] = &red[..] else { panic!("{red:?}") };
    assert_eq!(alert["ruleId"], "KI0301");
    let shown: Vec<&str> =
        blocks(&page).into_iter().filter(|(language, _)| *language == "text").map(|(_, text)| text).collect();
    let shown: Vec<String> = shown.iter().map(|text| text.replace('\n', " ")).collect();
    assert_eq!(shown, [alert["message"]["text"].as_str().unwrap()]);
}

#[test]
fn the_reference_shows_the_same_output() {
    let [page, reference] = ["docs/plan-in-a-pull-request.md", "docs/reference-cli.md"]
        .map(|page| fs::read_to_string(root().join(page)).unwrap());
    let red = blocks(&page).into_iter().find(|(_, text)| text.contains("error[KI0301]")).unwrap().1;
    assert!(reference.contains(red), "show in docs/reference-cli.md what docs/plan-in-a-pull-request.md shows");
}

#[test]
fn the_workflow_on_the_page_is_the_example() {
    let page = fs::read_to_string(root().join("docs/plan-in-a-pull-request.md")).unwrap();
    let example = fs::read_to_string(root().join("examples/ci/plan.yaml")).unwrap();
    assert!(page.contains(&format!("\n```yaml\n{example}```\n")), "show examples/ci/plan.yaml as it is");
}

#[test]
fn the_hook_on_the_page_runs_the_plan_of_the_page() {
    let page = fs::read_to_string(root().join("docs/plan-in-a-pull-request.md")).unwrap();
    let hooks = fs::read_to_string(root().join(".pre-commit-hooks.yaml")).unwrap();
    let hooks: Value = serde_saphyr::from_str(&hooks).unwrap();
    let config = blocks(&page).into_iter().find(|(_, text)| text.starts_with("# .pre-commit-config.yaml")).unwrap().1;
    let config: Value = serde_saphyr::from_str(config).unwrap();
    let own = &config["repos"][0]["hooks"][0];
    let hook = hooks.as_array().unwrap().iter().find(|hook| hook["id"] == own["id"]).unwrap();
    assert_eq!((&hook["entry"], &hook["language"]), (&"kube-ipam plan".into(), &"system".into()));
    assert_eq!(own["args"], serde_json::json!(["-f", "manifests"]));
}
