//! What a person sees of `kube-ipam explain` on a terminal: colours, and what it works on.

use std::net::TcpListener;

use kube_ipam_e2e::machines::Machines;
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::{operator, pty};
use serde_json::json;

use crate::{Host, explained};

const BOLD: &str = "\u{1b}[1m";
const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";

/// The page about a subject on a terminal of this many columns.
fn seen(node: &Node, subject: &str, columns: u16, environment: &[(&str, &str)]) -> String {
    let mut command = operator::command(node, &["explain", subject, "--cni-dir"]);
    command.arg(node.path("cni")).env("TERM", "xterm");
    pty::run(command.envs(environment.iter().copied()), columns).unwrap().text
}

#[test]
fn a_terminal_gets_colours_unless_somebody_wants_none() {
    let node = Machines::embedded().node();
    let host = Host::new(&node);
    for (pod, ip) in [("alive", "10.1.0.11"), ("lost", "10.1.0.12")] {
        host.add(pod, &json!({ "kube-ipam.eth0.ip": ip })).ok();
    }
    host.api.lost("lost");
    let well = seen(&node, "10.1.0.11", 80, &[]);
    assert!(well.starts_with(&format!("{BOLD}10.1.0.11 has been held by pod db/alive")), "{well:?}");
    assert!(well.contains(&format!("{GREEN}The store and the API server agree.")), "{well:?}");
    let odd = seen(&node, "10.1.0.12", 80, &[]);
    assert!(odd.contains(&format!("{RED}The store and the API server disagree: ")), "{odd:?}");
    assert!(odd.contains(&format!("{BOLD}What to do:")), "{odd:?}");
    for (variable, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = seen(&node, "10.1.0.12", 80, &[(variable, value)]);
        assert!(!plain.contains('\u{1b}') && plain.contains("What to do:"), "{variable}: {plain:?}");
    }
    assert!(!explained(&node, "10.1.0.12").contains('\u{1b}'));
}

#[test]
fn colours_take_no_room_and_commands_are_whole() {
    let node = Machines::embedded().node();
    let host = Host::new(&node);
    host.add("lost", &json!({ "kube-ipam.eth0.ip": "10.1.0.12" })).ok();
    host.api.lost("lost");
    for columns in [40, 80, 120] {
        let plain = seen(&node, "10.1.0.12", columns, &[("NO_COLOR", "1")]);
        let wide = |line: &str| line.chars().count() > usize::from(columns) && !line.starts_with("    ");
        // Only a word that is longer than the terminal is wide stands out.
        let too_wide: Vec<&str> = plain.lines().filter(|line| wide(line) && line.trim().contains(' ')).collect();
        assert_eq!(too_wide, [] as [&str; 0], "{columns}: {plain}");
        assert!(plain.contains("\n    kube-ipam sweep --dry-run\n"), "{columns}: {plain}");
        let without = |text: &str| {
            let mut parts = text.split('\u{1b}');
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |all, part| all + part.split_once('m').map_or("", |(_, rest)| rest))
        };
        let is_stable = |line: &&str| !line.contains("ago") && !line.contains("for ");
        let coloured = without(&seen(&node, "10.1.0.12", columns, &[]));
        assert!(coloured.lines().filter(is_stable).eq(plain.lines().filter(is_stable)), "{columns}: {coloured}");
    }
}

#[test]
fn what_takes_long_is_named_on_a_terminal_alone() {
    let node = Machines::embedded().node();
    let host = Host::new(&node);
    host.add("held", &json!({ "kube-ipam.eth0.ip": "10.1.0.11" })).ok();
    // An API server that accepts connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let kubeconfig = std::fs::read_to_string(node.path("kubeconfig")).unwrap();
    let mut kubeconfig: serde_json::Value = serde_json::from_str(&kubeconfig).unwrap();
    kubeconfig["clusters"][0]["cluster"]["server"] = json!(format!("http://{}", silent.local_addr().unwrap()));
    std::fs::write(node.path("kubeconfig"), kubeconfig.to_string()).unwrap();
    let page = seen(&node, "10.1.0.11", 80, &[]);
    assert!(page.contains("the networks: at work for 1 s"), "{page:?}");
    assert!(page.contains("10.1.0.11 has been held by pod db/held"), "{page:?}");
    assert!(!explained(&node, "10.1.0.11").contains("at work for"));
}
