//! Faults that are planted on a healthy machine. Each is found by one check, with its next step.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use kube_ipam_e2e::etcd::Certificates;
use serde_json::{Value, json};

use crate::machine::{Machine, append};
use crate::plants::{add_in_boot, defer_release, expired_certificate, kubeconfig, token, with_etcd};

/// A fault, and what is said about it.
struct Case {
    /// What is wrong, for the test's output.
    fault: &'static str,
    plant: fn(&Machine),
    check: &'static str,
    status: &'static str,
    /// A part of the message.
    says: &'static str,
    /// A part of the next step or of one of its commands.
    next: &'static str,
}

const CASES: &[Case] = &[
    Case {
        fault: "the node defaults are torn",
        plant: |machine| machine.write("kube-ipam.json", "{\"nodeName\": \"node-1\","),
        check: "node-defaults",
        status: "error",
        says: "no ADD works on this node: /node/kube-ipam.json: not valid JSON",
        next: "correct it in the ConfigMap of the installer",
    },
    Case {
        fault: "there are no node defaults",
        plant: |machine| fs::remove_file(machine.path("kube-ipam.json")).unwrap(),
        check: "node-defaults",
        status: "warning",
        says: "there are no node defaults at /node/kube-ipam.json",
        next: "kubectl -n kube-ipam get pods -o wide",
    },
    Case {
        fault: "a key of the node defaults has no effect",
        plant: |machine| machine.node.set_defaults(&json!({ "colour": "blue" })),
        check: "node-defaults",
        status: "error",
        says: "colour: unknown key",
        next: "correct it in the ConfigMap of the installer",
    },
    Case {
        fault: "anyone can write the node defaults",
        plant: |machine| machine.set_mode("kube-ipam.json", 0o646),
        check: "file-modes",
        status: "error",
        says: "/node/kube-ipam.json has mode 0646, so others than root can change",
        next: "chmod 0644 /node/kube-ipam.json",
    },
    Case {
        fault: "anyone can read the kubeconfig",
        plant: |machine| {
            kubeconfig(machine, &json!({ "token": "t" }));
            machine.set_mode("kubeconfig", 0o644);
        },
        check: "file-modes",
        status: "error",
        says: "/node/kubeconfig has mode 0644, so others than root can read its credentials",
        next: "chmod 0600 /node/kubeconfig",
    },
    Case {
        fault: "anyone can read the records",
        plant: |machine| machine.set_mode("records/node-1", 0o755),
        check: "file-modes",
        status: "warning",
        says: "others than root can read pods and addresses",
        next: "chmod 0700 /node/records/node-1",
    },
    Case {
        fault: "the program is not installed",
        plant: |machine| fs::remove_file(machine.path("bin/kube-ipam")).unwrap(),
        check: "program",
        status: "error",
        says: "the runtime finds no program at /node/bin/kube-ipam",
        next: "let the installer's pod write it",
    },
    Case {
        fault: "the program is not executable",
        plant: |machine| {
            fs::remove_file(machine.path("bin/kube-ipam")).unwrap();
            machine.write("bin/kube-ipam", "");
        },
        check: "program",
        status: "error",
        says: "the runtime can't start /node/bin/kube-ipam",
        next: "chmod 0755 /node/bin/kube-ipam",
    },
    Case {
        fault: "the runtime starts another version",
        plant: |machine| {
            fs::remove_file(machine.path("bin/kube-ipam")).unwrap();
            machine.write("bin/kube-ipam", "#!/bin/sh\necho kube-ipam 0.2.0\n");
            machine.set_mode("bin/kube-ipam", 0o755);
        },
        check: "program",
        status: "warning",
        says: "is another program than this one",
        next: "/node/bin/kube-ipam doctor",
    },
    Case {
        fault: "the kubeconfig is not YAML",
        plant: |machine| {
            machine.write("kubeconfig", "a: [");
            machine.set_mode("kubeconfig", 0o600);
        },
        check: "kubeconfig",
        status: "error",
        says: "can't use the kubeconfig /node/kubeconfig: it is not valid YAML",
        next: "correct the file, or write a new one",
    },
    Case {
        fault: "the token of the kubeconfig has expired",
        plant: |machine| kubeconfig(machine, &json!({ "token": token(1_700_000_000) })),
        check: "kubeconfig",
        status: "error",
        says: "the token of /node/kubeconfig expired",
        next: "look whether the installer's pod runs on this node",
    },
    Case {
        fault: "a node of a cluster has no kubeconfig",
        plant: |machine| {
            machine.node.set_defaults(&json!({ "cluster": "c1", "annotations": true, "store": "embedded" }));
        },
        check: "kubeconfig",
        status: "error",
        says: "there is no kubeconfig at /node/kubeconfig or",
        next: "look why the installer has not written it",
    },
    Case {
        fault: "etcd's client certificate has expired",
        plant: |machine| {
            with_etcd(machine);
            expired_certificate(machine);
        },
        check: "store-credentials",
        status: "error",
        says: "the certificate /node/etcd/tls.crt (etcdCertFile) expired",
        next: "look whether the installer's pod runs on this node",
    },
    Case {
        fault: "etcd's client key is gone",
        plant: |machine| {
            with_etcd(machine);
            let certificates = Certificates::write(&machine.path("")).unwrap();
            fs::create_dir(machine.path("etcd")).unwrap();
            fs::copy(certificates.client_cert, machine.path("etcd/tls.crt")).unwrap();
        },
        check: "store-credentials",
        status: "error",
        says: "/node/etcd/tls.key (etcdKeyFile) can't be read",
        next: "ls -l /node/etcd/tls.key",
    },
    Case {
        fault: "a network's configuration is not JSON",
        plant: |machine| machine.write("net.d/00-red.conf", "{"),
        check: "network-configs",
        status: "error",
        says: "/node/net.d/00-red.conf can't be read, so the runtime may use another network",
        next: "jq . /node/net.d/00-red.conf",
    },
    Case {
        fault: "a network's configuration has a mistake",
        plant: |machine| machine.configure(&json!({ "rangeEnd": "10.2.0.9" })),
        check: "network-configs",
        status: "error",
        says: "an ADD to network \"blue\" in /node/net.d/10-blue.conflist fails: ipam.rangeEnd",
        next: "kube-ipam plan -f /node/net.d/10-blue.conflist --config /node/kube-ipam.json",
    },
    Case {
        fault: "a network's plugin is not installed",
        plant: |machine| fs::remove_file(machine.path("bin/macvlan")).unwrap(),
        check: "network-configs",
        status: "error",
        says: "the runtime finds no plugin \"macvlan\" in /node/bin",
        next: "install the CNI plugins there",
    },
    Case {
        fault: "no range of a network is for this node",
        plant: |machine| machine.configure(&json!({ "nodes": ["rack-b-*"] })),
        check: "network-configs",
        status: "error",
        says: "is refused: a set has no range for node node-1",
        next: "add a range for this node",
    },
    Case {
        fault: "host-local still holds an address",
        plant: |machine| {
            machine.node.set_defaults(&json!({ "dataDir": machine.path("addresses") }));
            machine.write("addresses/blue/10.1.0.77", "0ldc0ntainer\neth0");
        },
        check: "host-local",
        status: "warning",
        says: "host-local still holds 1 address of network \"blue\", which kube-ipam gives to nobody: 10.1.0.77 (container 0ldc0ntainer)",
        next: "grep -r . /node/addresses/blue",
    },
    Case {
        fault: "a record is torn",
        plant: |machine| machine.write(&machine.record("c1"), "{\"v\":1,\"state\":\"he"),
        check: "records",
        status: "warning",
        says: "says nothing of what its container holds: it is torn",
        next: "its DEL reads the store instead",
    },
    Case {
        fault: "the node was renamed",
        plant: |machine| machine.node.set_defaults(&json!({ "nodeName": "node-2" })),
        check: "records",
        status: "warning",
        says: "node node-2 was called node-1 before",
        next: "add \"formerNodeNames\": [\"node-1\"] to the node defaults",
    },
    Case {
        fault: "no DEL has come for a container of an earlier boot",
        plant: |machine| add_in_boot(machine, "c2", "an-earlier-boot"),
        check: "record-containers",
        status: "warning",
        says: "1 record is of an earlier boot: no DEL has come for eth0 of container c2",
        next: "kube-ipam sweep --node --dry-run",
    },
    Case {
        fault: "the store was moved",
        plant: |machine| machine.node.set_defaults(&json!({ "dataDir": machine.path("elsewhere") })),
        check: "record-stores",
        status: "warning",
        says: "1 record has addresses in SQLite in /node/addresses, and not in SQLite in /node/elsewhere",
        next: "keep that store reachable until these pods have been recreated",
    },
    Case {
        fault: "a DEL could not reach its store",
        plant: defer_release,
        check: "deferred-releases",
        status: "error",
        says: "1 release is deferred on this node, the oldest for 7 minutes",
        next: "kube-ipam sweep --marked",
    },
    Case {
        fault: "a deferred release is torn",
        plant: |machine| {
            defer_release(machine);
            machine.write("records/node-1/marked/c1:eth0:blue.json", "{\"v\":1,");
        },
        check: "deferred-releases",
        status: "error",
        says: "can't be performed: it is torn",
        next: "kube-ipam sweep --dry-run",
    },
    Case {
        fault: "a call was killed before it wrote its record",
        plant: |machine| {
            machine.write(&machine.record("c2"), "");
            machine.set_age(&machine.record("c2"), 5);
        },
        check: "leftovers",
        status: "warning",
        says: "1 leftover is of killed calls in the node's records: /node/records/node-1/c2:eth0:blue.json",
        next: "kube-ipam doctor --node --fix",
    },
    Case {
        fault: "an installer was killed while it wrote",
        plant: |machine| {
            machine.write("bin/.kube-ipam.new", "half a prog");
            machine.set_age("bin/.kube-ipam.new", 5);
        },
        check: "leftovers",
        status: "warning",
        says: "an installer was killed while it wrote /node/bin/.kube-ipam.new",
        next: "rm -- /node/bin/.kube-ipam.new",
    },
    Case {
        fault: "the API server denies events",
        plant: |machine| {
            let now = jiff::Timestamp::now();
            machine.write("records/node-1/events", &format!("{{\"v\":1,\"off\":\"{now}\"}}\n"));
        },
        check: "event-limit",
        status: "warning",
        says: "this node publishes no events on pods for",
        next: "kubectl apply -f examples/install/rbac.yaml",
    },
    Case {
        fault: "the log can't be written",
        plant: |machine| machine.node.set_defaults(&json!({ "log": machine.path("no/such/folder.log") })),
        check: "log",
        status: "warning",
        says: "the log /node/no/such/folder.log can't be written",
        next: "make it writable for root",
    },
    Case {
        fault: "the log is not rotated",
        plant: |machine| {
            let log = json!({ "file": machine.path("kube-ipam.log"), "rotate": "64Ki" });
            machine.node.set_defaults(&json!({ "log": log }));
            machine.write("kube-ipam.log", &"x".repeat(1 << 20));
        },
        check: "log",
        status: "warning",
        says: "should have been rotated",
        next: "allow renames in its folder",
    },
    Case {
        fault: "the clock has gone back",
        plant: |machine| machine.set_age(&machine.record("c1"), -60),
        check: "clock",
        status: "warning",
        says: "this node's clock has gone back: a record was written in",
        next: "date -u",
    },
    Case {
        fault: "the machine was set back to a snapshot",
        plant: |machine| {
            let path = machine.path(&machine.record("c1"));
            let text = fs::read_to_string(&path).unwrap();
            let mut record: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
            record["began"]["boottime"] = json!(9_007_199_254_740_991_u64);
            append(&path, &record.to_string());
        },
        check: "clock",
        status: "warning",
        says: "began later in this boot than now",
        next: "reboot it",
    },
];

#[test]
fn each_planted_fault_is_found_with_its_next_step() {
    for Case { fault, plant, check, status, says, next } in CASES {
        let machine = Machine::healthy();
        plant(&machine);
        let faults = machine.faults();
        let of_check: Vec<_> = faults.iter().filter(|fault| fault.check == *check).collect();
        let [found] = of_check.as_slice() else { panic!("{fault}: {check} has found {of_check:#?} of {faults:#?}") };
        assert!(found.status == *status && found.message.contains(says), "{fault}: {found:#?}");
        let is_next = found.next.contains(next) || found.commands.iter().any(|command| command.contains(next));
        assert!(is_next, "{fault}: {found:#?}");
        if *status == "error" {
            assert_eq!(machine.run(&["--node"]).status.code(), Some(1), "{fault}");
        }
    }
}

#[test]
fn each_command_names_the_store_and_the_kubeconfig_of_the_run() {
    let mut own = 0;
    for Case { plant, .. } in CASES {
        let machine = Machine::healthy();
        plant(&machine);
        let (store, kubeconfig) = (machine.path("addresses"), machine.path("admin"));
        let options = ["--data-dir", store.to_str().unwrap(), "--kubeconfig", kubeconfig.to_str().unwrap()];
        own += machine.reviewed(&options).1;
        own += machine.reviewed(&[&options[..], &["--node"]].concat()).1;
    }
    assert!(own > 10, "{own} commands");
}

#[test]
fn the_cluster_s_identity_that_could_not_be_read_is_found() {
    let machine = Machine::healthy();
    let api = kube_ipam_e2e::api::Api::start().unwrap();
    api.hides_its_cluster(Some((403, kube_ipam_e2e::api::forbidden("namespaces", "kube-system"))));
    api.kubeconfig(&machine.path("")).unwrap();
    machine.set_mode("kubeconfig", 0o600);
    machine.network().call("ADD", "c2").args("K8S_POD_NAMESPACE=web;K8S_POD_NAME=web-1;K8S_POD_UID=u1").run().ok();
    let faults = machine.faults();
    let found = faults.iter().find(|fault| fault.check == "cluster-identity").unwrap();
    assert!(found.message.contains("could not read its cluster's identity"), "{found:#?}");
    assert!(found.next.contains("grant `get` on the namespace kube-system"), "{found:#?}");
}

/// Names that act on a terminal, wherever a value is shown that somebody else wrote.
#[test]
fn hostile_values_never_reach_the_terminal() {
    const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\r\n";
    let machine = Machine::healthy();
    let hostile_pod = format!("K8S_POD_NAMESPACE=web;K8S_POD_NAME=web-{}", HOSTILE.replace(';', ","));
    machine.write("boot", "an-earlier-boot");
    machine.network().call("ADD", "c2").args(&hostile_pod).env("KUBE_IPAM_BOOT_ID_FILE", machine.path("boot")).run();
    machine.write(
        "net.d/20-red.conf",
        &json!({ "name": HOSTILE, "type": HOSTILE, "ipam": { "type": "kube-ipam" } }).to_string(),
    );
    machine.write(&format!("net.d/30{HOSTILE}.conf").replace('/', "-").replacen("net.d-", "net.d/", 1), "{");
    machine.write("addresses/blue/10.1.0.77", HOSTILE);
    fs::remove_file(machine.path("bin/kube-ipam")).unwrap();
    machine.write("bin/kube-ipam", &format!("#!/bin/sh\nprintf '{}'\n", HOSTILE.replace('\n', "\\n")));
    fs::set_permissions(machine.path("bin/kube-ipam"), fs::Permissions::from_mode(0o755)).unwrap();
    for args in [&["--node"][..], &["--node", "-o", "json"], &["--node", "--fix", "--yes"]] {
        let output = machine.run(args);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let acts = |c: &char| (c.is_control() && *c != '\n') || *c == '\u{202e}';
        let acting: Vec<char> = text.chars().filter(acts).collect();
        assert!(acting.is_empty(), "{args:?}: {acting:?} in {text:?}");
    }
}
