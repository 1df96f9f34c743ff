//! `kube-ipam plan` on files that are made to exhaust it, or to fool whoever reads its output. Each run has 1 GiB of address
//! space, and ends long before the deadline.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use kube_ipam_e2e::{binary, pty};

/// In KiB, as `ulimit -v` takes it.
const ADDRESS_SPACE: &str = "1048576";

/// In seconds. The test is about memory; this only ends it where a run would never end.
const DEADLINE: &str = "600";

struct Outcome {
    status: Option<i32>,
    out: String,
    err: String,
}

/// Plans a file within the limits.
fn plan(file: &Path, args: &[&str]) -> Outcome {
    let script = format!("ulimit -v {ADDRESS_SPACE}; exec timeout {DEADLINE} \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(binary::kube_ipam())
        .args(["plan", "-f"])
        .arg(file)
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Plans a text within the limits.
fn plan_text(text: impl AsRef<[u8]>) -> Outcome {
    let mut file = tempfile::Builder::new().prefix("kube-ipam-").suffix(".yaml").tempfile().unwrap();
    file.write_all(text.as_ref()).unwrap();
    plan(file.path(), &[])
}

fn assert_found(name: &str, text: impl AsRef<[u8]>, code: &str, message: &str) {
    let Outcome { status, out, err } = plan_text(text);
    assert_eq!(status, Some(1), "{name}: {err}");
    let is_there = out.contains(code) && out.contains(message);
    assert!(is_there, "{name}: {}\n{err}", out.chars().take(2000).collect::<String>());
}

#[test]
fn aliases_that_multiply_end_with_an_error() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let many = vec![format!("*a{}", i - 1); 10].join(", ");
        writeln!(laughs, "a{i}: &a{i} [{many}]").unwrap();
    }
    assert_found("laughs", laughs, "KI0001", "more than 1000000 values, counting what aliases repeat");
    // Anchors inside each other: every one of them keeps a copy of what is in it.
    let open: String = (0..200).map(|i| format!("&a{i} [")).collect();
    let nested = format!("a: {open}{}{}\n", "x, ".repeat(100_000), "]".repeat(200));
    assert_found("nested anchors", nested, "KI0001", "more than 1000000 values");
    let merged = format!("a: &a {{{}}}\nb: {{<<: [{}]}}\n", members(50_000), ["*a"; 30].join(", "));
    assert_found("merged", merged, "KI0001", "more than 1000000 values");
    assert_found("itself", "a: &a [*a]\n", "KI0001", "");
}

fn members(count: usize) -> String {
    (0..count).map(|i| format!("k{i}: v")).collect::<Vec<_>>().join(", ")
}

#[test]
fn depth_ends_with_an_error() {
    assert_found("flow", "[".repeat(100_000), "KI0001", "recursion limit exceeded");
    assert_found("JSON", "{\"a\":".repeat(100_000), "KI0001", "recursion limit exceeded");
    let block: String = (0..3000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert_found("block", block, "KI0001", "recursion limit exceeded");
    let config = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    assert_found("a definition", definition(&format!("'{config}'")), "KI0004", "recursion limit exceeded");
}

/// A definition with this text as `config`.
fn definition(config: &str) -> String {
    format!(
        "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {{name: net}}\nspec:\n  config: {config}\n"
    )
}

#[test]
fn ten_megabytes_are_read_or_refused() {
    let text = "x".repeat(10 << 20);
    let Outcome { status, out, err } =
        plan_text(format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{a: {text}}}\n"));
    assert_eq!((status, out.as_str()), (Some(0), "These files define no network of kube-ipam and no pods.\n"), "{err}");
    assert_found("one scalar", definition(&format!("'{text}'")), "KI0004", "bytes of JSON in one text");
    assert_found("a list", "- 1\n".repeat(2_500_000), "KI0001", "more than 1000000 values");
    // A mistake in a line of 10 MB.
    let pod = format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {{\"name\": \"a\", \"labels\": {{\"a\": \"{text}\"}}, \
         \"annotations\": {{\"k8s.v1.cni.cncf.io/networks\": \"nowhere\"}}}}}}"
    );
    assert_found("one line", pod, "KI0102", "nowhere");
}

#[test]
fn a_hundred_thousand_documents_are_planned() {
    let Outcome { status, err, .. } = plan_text("a: 1\n---\n".repeat(100_000));
    assert_eq!(status, Some(0), "{err}");
    let pods: String =
        (0..100_000).map(|i| format!("{{apiVersion: v1, kind: Pod, metadata: {{name: p{i}}}}}\n---\n")).collect();
    let Outcome { status, err, .. } = plan_text(pods);
    assert_eq!(status, Some(0), "{err}");
}

#[test]
fn thousands_of_networks_with_the_same_range_are_compared() {
    let network = |i: usize| {
        let config = format!(
            "'{{\"name\": \"n{i}\", \"type\": \"macvlan\", \"ipam\": {{\"type\": \"kube-ipam\", \"subnet\": \"10.0.0.0/8\"}}}}'"
        );
        definition(&config).replace("{name: net}", &format!("{{name: n{i}}}")) + "---\n"
    };
    let Outcome { status, out, err } = plan_text((0..3000).map(network).collect::<String>());
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains("warning[KI0107]"), "{}", out.chars().take(2000).collect::<String>());
    assert!(out.contains("2899 more findings are not shown; -o json has all of them."), "{err}");
}

#[test]
fn more_pods_than_a_plan_takes_are_refused() {
    let network =
        definition("'{\"type\": \"macvlan\", \"ipam\": {\"type\": \"kube-ipam\", \"subnet\": \"10.0.0.0/8\"}}'");
    let deployment = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 4294967295\n  template:\n    \
                      metadata: {annotations: {k8s.v1.cni.cncf.io/networks: net}}\n";
    assert_found("replicas", network + deployment, "KI0310", "a plan takes at most 200000 interfaces");
}

#[test]
fn a_key_a_hundred_thousand_times_is_said_a_hundred_times() {
    let Outcome { status, out, err } = plan_text("a: 1\n".repeat(100_000));
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(out.matches("warning[KI0002]").count(), 100);
    assert!(out.contains("4901 more findings are not shown; -o json has all of them."), "{err}");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let Outcome { status, err, .. } = plan_text(b"a: 1\n\xff\xfe\n");
    assert_eq!(status, Some(1));
    assert!(err.ends_with("not a text in UTF-8, from byte 5 on\n"), "{err}");
    let Outcome { status, err, .. } = plan_text(b"\xff\xfea\0:\0");
    assert_eq!(status, Some(1));
    assert!(err.ends_with("the text is UTF-16; save it as UTF-8\n"), "{err}");
    assert_found("NUL", "a: \0\nb: 1\n", "KI0001", "");
}

#[test]
fn a_device_without_an_end_is_too_large() {
    let Outcome { status, err, .. } = plan(Path::new("/dev/zero"), &[]);
    assert_eq!(
        (status, err.as_str()),
        (Some(1), "kube-ipam: the files have more than 256 MiB; plan fewer at a time\n")
    );
}

#[test]
fn a_pipe_is_a_file_as_well() {
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || {
            fs::write(
                pipe,
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {k8s.v1.cni.cncf.io/networks: b}}\n",
            )
        }
    });
    let Outcome { status, out, err } = plan(&pipe, &[]);
    writer.join().unwrap().unwrap();
    assert_eq!(status, Some(1), "{err}");
    assert!(out.contains("error[KI0102]"), "{out}");
}

/// Names that would clear the screen, change the title, go up a line, and look like another finding.
const CONTROLS: &str = "\\e[2J\\e]0;x\\a\\x9B1A\\r\\nerror[KI0001]: \\u202Efake";

#[test]
fn no_control_character_of_a_file_reaches_a_terminal() {
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    let file = folder.path().join("a\u{1b}[31m\u{9b}31m.yaml");
    let pod = |name: &str, annotation: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: \"{name}{CONTROLS}\"\n  namespace: \"{CONTROLS}\"\n  annotations:\n    \
             k8s.v1.cni.cncf.io/networks: net\n    {annotation}\n---\n"
        )
    };
    let network =
        definition("'{\"type\": \"macvlan\", \"ipam\": {\"type\": \"kube-ipam\", \"subnet\": \"10.1.0.0/24\"}}'")
            .replace("{name: net}", &format!("{{name: net, namespace: \"{CONTROLS}\"}}"));
    let text = [
        network,
        "---\n".to_owned(),
        pod("a", "kube-ipam.net1.ip: 10.1.0.5"),
        pod("b", "kube-ipam.net1.ip: 10.1.0.5"),
        pod("c", &format!("\"kube-ipam.{CONTROLS}.ip\": \"{CONTROLS}\"")),
        pod("d", &format!("kube-ipam.net1.ip: \"{CONTROLS}\"")),
        // The character that starts a control sequence, in the source itself.
        "a: \u{9b}31m\n".to_owned(),
    ];
    fs::write(&file, text.concat()).unwrap();
    for columns in [40, 80, 200] {
        let printed = pty::run(
            Command::new(binary::kube_ipam()).args(["plan", "-f"]).arg(&file).env_clear().env("NO_COLOR", "1"),
            columns,
        )
        .unwrap();
        for code in ["KI0001", "KI0301", "KI0305", "KI0401"] {
            assert!(printed.text.contains(code), "{code}: {}", printed.text);
        }
        let is_raw = |c: &char| c.is_control() && *c != '\n' || ('\u{202a}'..='\u{202e}').contains(c);
        let raw: Vec<char> = printed.text.chars().filter(is_raw).collect();
        assert_eq!(raw, [], "{:?}", printed.text);
        // That of the last document, and none of those that the names pretend.
        let lines = printed.text.lines().filter(|line| line.starts_with("error[KI0001]"));
        assert_eq!(lines.count(), 1, "{}", printed.text);
    }
    let missing = Command::new(binary::kube_ipam()).args(["plan", "-f", "/nonexistent/\u{1b}[31m"]).output().unwrap();
    assert_eq!(
        String::from_utf8(missing.stderr).unwrap(),
        "kube-ipam: /nonexistent/␛[31m: No such file or directory (os error 2)\n"
    );
}
