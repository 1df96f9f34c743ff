//! What a person sees of `kube-ipam doctor` on a terminal: colours, questions, and what it works on.

use std::net::TcpListener;
use std::process::Command;

use kube_ipam_e2e::pty;
use serde_json::json;

use crate::machine::Machine;

fn on_terminal(command: &mut Command) -> &mut Command {
    command.env("TERM", "xterm")
}

#[test]
fn a_terminal_gets_colours_unless_somebody_wants_none() {
    let machine = Machine::healthy();
    let red = "\u{1b}[1m\u{1b}[31merror";
    machine.set_mode("kube-ipam.json", 0o666);
    let coloured = pty::run(on_terminal(&mut machine.command(&["--node"])), 80).unwrap();
    assert!(coloured.text.contains(red), "{:?}", coloured.text);
    for (variable, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = pty::run(on_terminal(&mut machine.command(&["--node"])).env(variable, value), 80).unwrap();
        assert!(!plain.text.contains("\u{1b}[31m") && plain.text.contains("error"), "{variable}: {:?}", plain.text);
    }
    assert!(!machine.seen(&["--node"]).contains('\u{1b}'));
}

#[test]
fn each_fix_is_shown_and_done_only_if_it_is_confirmed() {
    let machine = Machine::healthy();
    machine.set_mode("kube-ipam.json", 0o666);
    machine.write("bin/.kube-ipam.new", "half a prog");
    machine.set_age("bin/.kube-ipam.new", 5);
    let seen = pty::run_with_answers(on_terminal(&mut machine.command(&["--node", "--fix"])), 80, "yes\n\n").unwrap();
    let text = machine.shortened(&seen.text);
    assert!(text.contains("Set the mode of /node/kube-ipam.json to 0644? [y/N]"), "{text}");
    assert!(text.contains("Remove the unfinished /node/bin/.kube-ipam.new? [y/N]"), "{text}");
    assert_eq!((machine.mode("kube-ipam.json"), machine.path("bin/.kube-ipam.new").exists()), (0o644, true), "{text}");
}

#[test]
fn a_check_that_takes_long_shows_what_it_works_on() {
    let machine = Machine::healthy();
    // A member of etcd that accepts connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let defaults = json!({
        "nodeName": "node-1", "stateDir": machine.path("records"), "annotations": false,
        "log": { "file": machine.path("kube-ipam.log") }, "etcdConfig": { "etcdURL": url },
    });
    machine.write("kube-ipam.json", &defaults.to_string());
    let seen = pty::run(on_terminal(&mut machine.command(&[])), 80).unwrap();
    assert!(seen.text.contains("store-response: at work for 1 s"), "{:?}", seen.text);
    assert!(!machine.seen(&[]).contains("at work for"));
}
