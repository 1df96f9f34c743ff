//! Members of etcd that answer wrongly, each first in the list, plain and with TLS: calls are served by the healthy one
//! beside it (contract, section 7).
#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use kube_ipam::store::EtcdConfig;
use kube_ipam_e2e::api::{Api, NAMESPACE};
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::faulty_member::{Behaviour, FaultyMember};
use kube_ipam_e2e::node::{Network, Node};
use serde_json::{Value, json};

/// The default time of a call; a DEL gives its store two seconds of it.
const DEADLINE: Duration = Duration::from_secs(10);

/// A machine whose pods are those of an API server, and whose list of members begins with a wrong one.
struct Setting {
    node: Node,
    api: Api,
}

impl Setting {
    fn new(wrong: &str, healthy: &EtcdConfig) -> Self {
        let urls = [wrong].into_iter().map(str::to_owned).chain(healthy.urls.clone()).collect();
        let (node, api) = (Node::on_etcd(&EtcdConfig { urls, ..healthy.clone() }), Api::start().unwrap());
        let kubeconfig = api.kubeconfig(&node.path("")).unwrap();
        node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "sweep": { "minAge": "0s" } }));
        Self { node, api }
    }

    /// The next process begins with the first of the list, as one that never had an answer.
    fn forget_the_last_good_member(&self) {
        let noted = self.node.path("records/node-1/etcd-endpoint");
        if noted.exists() {
            fs::remove_file(noted).unwrap();
        }
    }

    fn network(&self) -> Network<'_> {
        self.node.network(json!({ "subnet": "10.1.0.0/24", "cooldown": "0s" }))
    }

    /// A call for a container, which is a pod's of its own.
    fn call(&self, verb: &str, container: &str, config: &Value) -> Value {
        self.forget_the_last_good_member();
        self.api.has(container, &format!("uid-of-{container}"), "Running", &json!({}));
        let args = format!("K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={container};K8S_POD_UID=uid-of-{container}");
        let began = Instant::now();
        let reply = self.network().call(verb, container).args(&args).config(config).run().ok();
        assert!(began.elapsed() < DEADLINE, "{verb}: {:?}", began.elapsed());
        reply.document
    }

    fn held(&self) -> usize {
        self.forget_the_last_good_member();
        self.node.held().len()
    }

    fn sweep(&self) -> Value {
        self.forget_the_last_good_member();
        let mut command = Command::new(&self.node.plugin().path);
        command.env_clear().env("KUBE_IPAM_CONFIG", self.node.path("kube-ipam.json"));
        let output = command.args(["sweep", "--interval", "10ms", "-o", "json"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Each kind of call, of which none may know from the one before which member is good.
    fn serves_every_call(&self) {
        let config = self.network().config;
        let given = self.call("ADD", "c1", &config);
        self.call("ADD", "gone", &config);
        assert_eq!(self.held(), 2);
        self.call("CHECK", "c1", &self.network().with(json!({ "prevResult": given })).config);
        self.api.lost("gone");
        assert_eq!(self.sweep()["found"][0]["fate"], "freed");
        assert_eq!(self.held(), 1);
        self.call("DEL", "c1", &config);
        // A release that was deferred would have a file here.
        assert_eq!((self.held(), self.node.records()), (0, vec!["gone:eth0:blue.json".to_owned()]));
    }
}

/// The plain cluster and the one with TLS.
fn each_cluster(test: &str, case: impl Fn(Cluster)) {
    if etcd::installed_or_skip(test) {
        case(Cluster::plain(1).unwrap());
        case(Cluster::encrypted(1).unwrap());
    }
}

fn a_faulty_member_is_not_noticed(test: &str, behaviour: Behaviour) {
    each_cluster(test, |cluster| {
        let wrong = FaultyMember::start(behaviour, cluster.certificates()).unwrap();
        Setting::new(&wrong.url(), &cluster.config()).serves_every_call();
        // Each of the eight calls has begun with it.
        assert!(wrong.connected() >= 8, "{}", wrong.connected());
    });
}

#[test]
fn a_learner_first_in_the_list_is_passed_over() {
    each_cluster("a_learner_first_in_the_list_is_passed_over", |mut cluster| {
        let healthy = cluster.config();
        cluster.add_learner().unwrap();
        Setting::new(&cluster.urls()[1], &healthy).serves_every_call();
    });
}

#[test]
fn a_balancer_that_answers_503_is_passed_over() {
    a_faulty_member_is_not_noticed("a_balancer_that_answers_503_is_passed_over", Behaviour::Unavailable);
}

#[test]
fn a_member_that_accepts_and_closes_is_passed_over() {
    a_faulty_member_is_not_noticed("a_member_that_accepts_and_closes_is_passed_over", Behaviour::Closes);
}

#[test]
fn a_member_that_speaks_another_protocol_is_passed_over() {
    a_faulty_member_is_not_noticed("a_member_that_speaks_another_protocol_is_passed_over", Behaviour::OtherProtocol);
}

#[test]
fn a_member_that_says_nothing_is_passed_over() {
    a_faulty_member_is_not_noticed("a_member_that_says_nothing_is_passed_over", Behaviour::Silent);
}

#[test]
fn a_member_of_an_etcd_that_grants_no_right_is_passed_over() {
    each_cluster("a_member_of_an_etcd_that_grants_no_right_is_passed_over", |cluster| {
        let mut stranger = Cluster::beside(&cluster).unwrap();
        stranger.require_users().unwrap();
        Setting::new(&stranger.urls()[0], &cluster.config()).serves_every_call();
    });
}

/// An ADD that no member serves fails at its deadline with the store's own error; it was no race that was lost.
#[test]
fn an_add_that_every_member_answers_wrongly_quotes_each_at_its_deadline() {
    let wrong = [Behaviour::Unavailable, Behaviour::Closes].map(|kind| FaultyMember::start(kind, None).unwrap());
    let urls = wrong.iter().map(FaultyMember::url).collect::<Vec<_>>();
    let node = Node::on_etcd(&EtcdConfig {
        urls: urls.clone(),
        cert_file: None,
        key_file: None,
        ca_file: None,
        username: None,
        password_file: None,
        prefix: etcd::PREFIX.to_owned(),
    });
    node.set_defaults(&json!({ "timeout": "2s" }));
    let reply = node.network(json!({ "subnet": "10.1.0.0/24" })).add("c1").refused();
    assert_eq!(reply.code(), 11);
    let text = reply.text();
    for part in [&urls[0], &urls[1], "503", "the request may or may not have taken effect", "time spent"] {
        assert!(text.contains(part), "no {part}: {text}");
    }
    // Each try waits longer than the one before, and asks the member that failed least.
    let tries: usize = wrong.iter().map(FaultyMember::connected).sum();
    assert!((2..20).contains(&tries), "{tries} tries");
}
