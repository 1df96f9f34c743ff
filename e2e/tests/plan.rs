//! `kube-ipam plan` by the real binary: what a person reads, what a program reads, and what a pipeline goes by.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use kube_ipam::plan::Code;
use kube_ipam_e2e::binary;
use kube_ipam_e2e::checkout::root;
use serde_json::Value;

/// A network, and two pods that ask for one address of it.
const TWO_PODS: &str = r#"apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata:
  name: db-net
  namespace: database
spec:
  config: |
    {
      "cniVersion": "1.0.0",
      "type": "macvlan",
      "master": "eth1",
      "ipam": {"type": "kube-ipam", "subnet": "10.188.0.0/16", "fixedStart": "10.188.0.10", "fixedEnd": "10.188.0.255"}
    }
---
apiVersion: v1
kind: Pod
metadata:
  name: db-0
  namespace: database
  annotations:
    k8s.v1.cni.cncf.io/networks: db-net
    kube-ipam.net1.ip: "10.188.0.20"
---
apiVersion: v1
kind: Pod
metadata:
  name: db-1
  namespace: database
  annotations:
    k8s.v1.cni.cncf.io/networks: db-net
    kube-ipam.net1.ip: "10.188.0.20"
"#;

fn plan(args: &[&str]) -> Command {
    let mut command = Command::new(binary::kube_ipam());
    command.arg("plan").args(args).env_clear().stdin(Stdio::null()).current_dir(root());
    command
}

fn run(args: &[&str]) -> Output {
    plan(args).output().unwrap()
}

/// Plans what is on standard input.
fn run_on(text: &str, args: &[&str]) -> Output {
    let mut command = plan(&[&["-f", "-"], args].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_examples_have_no_mistake() {
    let (status, out, err) = texts(&run(&["-f", "network-attachments", "--deny", "warnings"]));
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    let (status, out, err) = texts(&run(&["-f", "examples", "--deny", "warnings"]));
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    // The fixed addresses that the examples promise.
    for promised in ["10.188.0.218, 10.188.0.219", "10.189.0.20, 10.189.0.21, 10.189.0.22", "10.199.0.254"] {
        assert!(out.contains(promised), "{promised}: {out}");
    }
}

#[test]
fn a_person_sees_both_places_of_a_duplicate_and_what_to_do() {
    let (status, out, err) = texts(&run_on(TWO_PODS, &[]));
    assert_eq!(status, Some(1));
    insta::assert_snapshot!(format!("{out}{err}"), @r#"
    error[KI0301]: 10.188.0.20 is asked for twice: by Pod database/db-0 and by Pod database/db-1
      --> <stdin>:31:25
       |
    22 |     kube-ipam.net1.ip: "10.188.0.20"
       |                         ----------- asked for here first
    ...
    31 |     kube-ipam.net1.ip: "10.188.0.20"
       |                         ^^^^^^^^^^^ asked for again here
       |
       = help: give one of them another address; the second pod would wait until the first one is gone

    NETWORK          RANGES                                      RANDOM  TAKEN  UPDATE  LEFT   FIXED
    database/db-net  10.188.0.1-10.188.255.254 of 10.188.0.0/16  65287   0      0       65287  1

    WORKLOAD           PODS  INTERFACE  NETWORK          GETS
    Pod database/db-0  1     net1       database/db-net  10.188.0.20, by annotation kube-ipam.net1.ip (<stdin>:22)
    Pod database/db-1  1     net1       database/db-net  nothing, see above
    kube-ipam: 1 error
    "#);
}

#[test]
fn a_program_gets_the_same_with_file_line_and_column() {
    let (status, out, _) = texts(&run_on(TWO_PODS, &["-o", "json"]));
    assert_eq!(status, Some(1));
    let plan: Value = serde_json::from_str(&out).unwrap();
    let finding = &plan["findings"][0];
    let place = |of: &Value| (of["file"].clone(), of["line"].clone(), of["column"].clone());
    assert_eq!((&finding["code"], &finding["severity"]), (&"KI0301".into(), &"error".into()));
    assert_eq!(place(finding), ("<stdin>".into(), 31.into(), 25.into()));
    assert_eq!(place(&finding["related"][0]), ("<stdin>".into(), 22.into(), 25.into()));
    let [_, net1, ..] = plan["interfaces"].as_array().unwrap().as_slice() else { panic!("{plan}") };
    assert_eq!(net1["certain"][0]["addresses"], serde_json::json!(["10.188.0.20"]));
}

#[test]
fn yaml_has_what_json_has() {
    let [json, yaml] = ["json", "yaml"].map(|format| texts(&run_on(TWO_PODS, &["-o", format])).1);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), json);
}

/// All objects that a plan reads: a machine, a claim, nodes, a DaemonSet and a StatefulSet.
const EVERYTHING: &str = r#"apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: db-net, namespace: database}
spec:
  config: |
    {"type": "macvlan", "ipam": {"type": "kube-ipam", "sticky": true, "ranges": [
      [{"subnet": "10.188.0.0/24"}], [{"subnet": "fd00:188::/64"}]]}}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: worker-1}}
- {apiVersion: v1, kind: Node, metadata: {name: worker-2}}
---
apiVersion: k8s.cni.cncf.io/v1alpha1
kind: IPAMClaim
metadata: {name: kept, namespace: database}
spec: {network: db-net, interface: net1}
status: {ips: [10.188.0.9/24]}
---
apiVersion: v1
kind: Pod
metadata:
  name: claiming
  namespace: database
  annotations:
    k8s.v1.cni.cncf.io/networks: '[{"name": "db-net", "ipam-claim-reference": "kept"}]'
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: database}
spec:
  replicas: 2
  template:
    metadata: {annotations: {k8s.v1.cni.cncf.io/networks: db-net}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: database}
spec:
  template:
    metadata: {annotations: {k8s.v1.cni.cncf.io/networks: db-net}}
    spec: {nodeSelector: {kubernetes.io/hostname: worker-2}}
---
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: vm1, namespace: database}
spec:
  template:
    spec:
      domain: {devices: {interfaces: [{name: data, bridge: {}}]}}
      networks: [{name: data, multus: {networkName: db-net}}]
"#;

#[test]
fn a_person_sees_who_keeps_an_address_and_where_a_number_of_pods_comes_from() {
    let (status, out, err) = texts(&run_on(EVERYTHING, &["--deny", "warnings"]));
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    for part in [
        "10.188.0.9 and any of fd00:188::",
        "kept for IPAMClaim database/kept, by the status of IPAMClaim database/kept (<stdin>:",
        "kept for each pod of StatefulSet database/db",
        "kept for VirtualMachine database/vm1",
        "DaemonSet database/agent     1 of 2 nodes  net1",
        "pod3a6eb0790f3",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[test]
fn each_document_is_what_the_schema_describes() {
    let schema = fs::read_to_string(root().join("docs/plan.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let unknown = TWO_PODS.replace("networks: db-net", "networks: other-net");
    for text in [TWO_PODS, EVERYTHING, &unknown, "a: [", "kind: Service\napiVersion: v1\n"] {
        let plan: Value = serde_json::from_str(&texts(&run_on(text, &["-o", "json"])).1).unwrap();
        let errors: Vec<String> = validator.iter_errors(&plan).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{plan:#}");
    }
    let examples: Value = serde_json::from_str(&texts(&run(&["-f", "examples", "-o", "json"])).1).unwrap();
    assert!(validator.is_valid(&examples), "{examples:#}");
    // The schema would find a mistake.
    let plan: Value = serde_json::from_str(&texts(&run_on(TWO_PODS, &["-o", "json"])).1).unwrap();
    let is_wrong = |change: fn(&mut Value)| {
        let mut wrong = plan.clone();
        change(&mut wrong);
        !validator.is_valid(&wrong)
    };
    assert!(is_wrong(|plan| plan["findings"][0]["severity"] = "fatal".into()));
    assert!(is_wrong(|plan| plan["findings"][0]["code"] = "301".into()));
    assert!(is_wrong(|plan| plan["interfaces"][1]["outcome"] = "lost".into()));
    assert!(is_wrong(|plan| plan["interfaces"][1]["certain"] = Value::Null));
    assert!(is_wrong(|plan| plan["networks"][0]["left"] = (-1).into()));
}

/// The schema of SARIF 2.1.0, which a package brings along.
fn sarif_schema() -> Value {
    // Packages of other platforms may not have been downloaded.
    let host = Command::new("rustc").args(["--print", "host-tuple"]).output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--locked", "--filter-platform", host.trim()])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let package = metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == "serde-sarif");
    let manifest = package.unwrap()["manifest_path"].as_str().unwrap();
    let schema = std::path::Path::new(manifest).with_file_name("src/schema.json");
    let mut schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    // Their patterns have a bracket too many, and are no regular expressions. Nothing here names a language.
    for part in ["run", "toolComponent"] {
        schema["definitions"][part]["properties"]["language"].as_object_mut().unwrap().remove("pattern");
    }
    schema
}

#[test]
fn sarif_is_valid_and_has_each_finding_at_its_place() {
    let (status, out, _) = texts(&run_on(TWO_PODS, &["-o", "sarif"]));
    assert_eq!(status, Some(1));
    let log: Value = serde_json::from_str(&out).unwrap();
    let validator = jsonschema::validator_for(&sarif_schema()).unwrap();
    let errors: Vec<String> = validator.iter_errors(&log).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    // The schema would find a mistake.
    let mut wrong = log.clone();
    wrong["runs"][0]["results"][0]["level"] = "fatal".into();
    assert!(!validator.is_valid(&wrong));
    let [result] = log["runs"][0]["results"].as_array().unwrap().as_slice() else { panic!("{log}") };
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!((&result["ruleId"], &result["level"]), (&"KI0301".into(), &"error".into()));
    let expected = serde_json::json!({ "startLine": 31, "startColumn": 25, "endLine": 31, "endColumn": 36 });
    assert_eq!(*region, expected);
    let related = &result["relatedLocations"][0];
    assert_eq!(related["message"]["text"], "asked for here first");
    assert_eq!(related["physicalLocation"]["region"]["startLine"], 22);
}

#[test]
fn warnings_fail_a_plan_only_where_they_are_denied() {
    let warned = TWO_PODS
        .replace("10.188.0.20\"\n---", "10.188.0.21\"\n---")
        .replace("\"subnet\": \"10.188.0.0/16\"", "\"subnet\": \"10.188.0.0/16\", \"gateway\": \"10.9.0.1\"");
    let (status, out, err) = texts(&run_on(&warned, &[]));
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("warning[KI0109]"), "{out}");
    let (status, _, err) = texts(&run_on(&warned, &["--deny", "warnings"]));
    assert_eq!((status, err.as_str()), (Some(1), "kube-ipam: 1 warning\n"));
}

#[test]
fn a_folder_is_read_with_all_below_it_and_other_files_are_passed_over() {
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    let below = folder.path().join("networks");
    fs::create_dir(&below).unwrap();
    let (network, pods) = TWO_PODS.split_once("---\n").unwrap();
    fs::write(below.join("db.yml"), network).unwrap();
    fs::write(folder.path().join("pods.yaml"), pods.replacen("0.20", "0.21", 1)).unwrap();
    fs::write(folder.path().join("README.md"), "a: [").unwrap();
    fs::write(folder.path().join(".hidden.yaml"), "a: [").unwrap();
    // A folder that leads back to where it is must not be walked for ever.
    std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
    let (status, out, err) = texts(&run(&["-f", folder.path().to_str().unwrap()]));
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("10.188.0.21, by annotation"), "{out}");
}

#[test]
fn what_can_not_be_planned_is_said() {
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let (status, _, err) = texts(&run(&["-f", path]));
    let expected = format!("kube-ipam: {path} has no manifests; files end with .yaml, .yml, .json, .conf, .conflist\n");
    assert_eq!((status, err), (Some(1), expected));
    let (status, _, err) = texts(&run(&["-f", "/nonexistent/kube-ipam"]));
    let expected = "kube-ipam: /nonexistent/kube-ipam: No such file or directory (os error 2)\n";
    assert_eq!((status, err.as_str()), (Some(1), expected));
    assert_eq!(run(&[]).status.code(), Some(2));
    let (status, out, _) = texts(&run_on("kind: Service\napiVersion: v1\n", &[]));
    assert_eq!((status, out.as_str()), (Some(0), "These files define no network of kube-ipam and no pods.\n"));
}

#[test]
fn the_hook_plans_the_folder_in_which_it_runs() {
    let hooks: Value =
        serde_saphyr::from_str(&fs::read_to_string(root().join(".pre-commit-hooks.yaml")).unwrap()).unwrap();
    let [hook] = hooks.as_array().unwrap().as_slice() else { panic!("{hooks}") };
    let entry = hook["entry"].as_str().unwrap().strip_prefix("kube-ipam ").unwrap();
    let args: Vec<&str> = hook["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    fs::write(folder.path().join("pods.yaml"), TWO_PODS).unwrap();
    let mut command = Command::new(binary::kube_ipam());
    let output = command.arg(entry).args(args).current_dir(folder.path()).output().unwrap();
    let (status, out, _) = texts(&output);
    assert_eq!(status, Some(1));
    assert!(out.contains("--> ./pods.yaml:31:25"), "{out}");
}

#[test]
fn the_workflow_runs_commands_that_the_program_takes() {
    let workflow = fs::read_to_string(root().join("examples/ci/plan.yaml")).unwrap();
    let lines = workflow.lines().map(str::trim).filter(|line| line.starts_with("kube-ipam "));
    let commands: Vec<Vec<&str>> =
        lines.map(|line| line.split_whitespace().take_while(|word| !matches!(*word, ">" | "||")).collect()).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in commands {
        kube_ipam::cli::command().try_get_matches_from(&command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }
}

#[test]
fn every_code_has_its_entry_in_the_reference() {
    let page = fs::read_to_string(root().join("docs/reference-errors.md")).unwrap();
    let rows: Vec<(String, String)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `KI"))
        .map(|row| {
            let mut cells = row.split(" | ");
            let code = cells.next().unwrap().trim_end_matches('`').to_owned();
            (code, cells.next().unwrap().to_owned())
        })
        .collect();
    let codes: Vec<(String, String)> = Code::all()
        .map(|code| (code.to_string().trim_start_matches("KI").to_owned(), code.title().to_owned()))
        .collect();
    assert_eq!(rows, codes);
    assert!(Code::all().is_sorted_by(|one, next| one < next));
}
