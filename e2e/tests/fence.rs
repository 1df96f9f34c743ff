//! An ADD whose outcome is unknown is fenced by the DEL that follows it, so that a commit which lands late fails
//! (invariant 6): with a real etcd, behind a network that holds the commit back until after the DEL.
#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use kube_ipam::store::EtcdConfig;
use kube_ipam_e2e::cni::Reply;
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::node::{Network, Node};
use kube_ipam_e2e::proxy::{Fault, Proxy};
use kube_ipam_e2e::wait_until;
use serde_json::json;

/// A machine that reaches etcd through a network with one fault.
struct Setting {
    node: Node,
    proxy: Proxy,
    cluster: Cluster,
}

/// The machine, and the fault of its nth request; `None` where there is no etcd.
fn setting(test: &str, fault: Fault, nth: u32) -> Option<Setting> {
    if !etcd::installed_or_skip(test) {
        return None;
    }
    let cluster = Cluster::plain(1).unwrap();
    let proxy = Proxy::new(cluster.port(0), fault, nth).unwrap();
    let node = Node::on_etcd(&EtcdConfig { urls: vec![proxy.url()], ..cluster.config() });
    node.set_defaults(&json!({ "timeout": "2s" }));
    Some(Setting { node, proxy, cluster })
}

impl Setting {
    fn network(&self) -> Network<'_> {
        self.node.network(json!({ "subnet": "10.1.0.0/24", "cooldown": "0s" }))
    }

    /// An ADD that runs into the fault.
    fn uncertain_add(&self, container: &str) {
        let reply = self.network().add(container).refused();
        self.proxy.wait_for_the_fault();
        uncertain(&reply);
        // What follows has all the time it needs.
        self.node.set_defaults(&json!({}));
    }

    /// From now on the etcd behind the proxy is a second member, which answers.
    fn with_a_healthy_member(self) -> Self {
        let urls = vec![self.proxy.url(), self.cluster.urls()[0].clone()];
        let node = Node::on_etcd(&EtcdConfig { urls, ..self.cluster.config() });
        Self { node, ..self }
    }

    fn holders(&self) -> Vec<String> {
        self.node.held().into_iter().map(|(_, holder)| holder).collect()
    }
}

/// The error says that nobody knows what became of the ADD, of which etcd, and what settles it.
fn uncertain(reply: &Reply) {
    assert_eq!(reply.code(), 11, "{}", reply.stdout);
    for part in
        ["the request may or may not have taken effect", "http://127.0.0.1:", "DEL releases whatever took effect"]
    {
        assert!(reply.text().contains(part), "{}", reply.text());
    }
}

#[test]
fn a_commit_that_lands_after_its_del_fails() {
    let test = "a_commit_that_lands_after_its_del_fails";
    let Some(setting) = setting(test, Fault::HeldBack, 1) else { return };
    setting.uncertain_add("c1");
    setting.network().del("c1").ok();
    setting.proxy.release();
    assert_eq!(setting.holders(), [""; 0]);
    assert_eq!(setting.node.records(), [""; 0]);
}

#[test]
fn a_commit_that_lands_late_without_a_del_takes_effect_and_the_del_after_it_frees() {
    // Which shows that the proxy does what the other tests rely on.
    let test = "a_commit_that_lands_late_without_a_del_takes_effect_and_the_del_after_it_frees";
    let Some(setting) = setting(test, Fault::HeldBack, 1) else { return };
    setting.uncertain_add("c1");
    assert_eq!(setting.holders(), [""; 0]);
    setting.proxy.release();
    assert_eq!(setting.holders(), ["c1/eth0"]);
    setting.network().del("c1").ok();
    assert_eq!(setting.holders(), [""; 0]);
}

#[test]
fn the_fence_is_carried_on_by_an_add_and_its_del() {
    let test = "the_fence_is_carried_on_by_an_add_and_its_del";
    let Some(setting) = setting(test, Fault::HeldBack, 1) else { return };
    setting.uncertain_add("c1");
    let network = setting.network();
    network.del("c1").ok();
    network.add("c1").ok();
    network.del("c1").ok();
    setting.proxy.release();
    assert_eq!(setting.holders(), [""; 0]);
}

#[test]
fn a_commit_that_lands_while_a_later_add_holds_changes_nothing() {
    let test = "a_commit_that_lands_while_a_later_add_holds_changes_nothing";
    let Some(setting) = setting(test, Fault::HeldBack, 1) else { return };
    setting.uncertain_add("c1");
    let network = setting.network();
    network.del("c1").ok();
    let later = network.add("c1").ok();
    let before = setting.node.held();
    setting.proxy.release();
    assert_eq!(setting.node.held(), before);
    network.check("c1", &later).ok();
    network.del("c1").ok();
    assert_eq!(setting.holders(), [""; 0]);
}

#[test]
fn an_add_repeated_without_a_del_is_not_doubled_by_the_late_commit() {
    let test = "an_add_repeated_without_a_del_is_not_doubled_by_the_late_commit";
    let Some(setting) = setting(test, Fault::HeldBack, 1) else { return };
    setting.uncertain_add("c1");
    let network = setting.network();
    let repeated = network.add("c1").ok();
    setting.proxy.release();
    assert_eq!(setting.holders(), ["c1/eth0"]);
    network.check("c1", &repeated).ok();
    network.del("c1").ok();
    assert_eq!(setting.holders(), [""; 0]);
}

#[test]
fn a_commit_that_was_to_replace_a_fence_fails_after_its_del_too() {
    let test = "a_commit_that_was_to_replace_a_fence_fails_after_its_del_too";
    // The first two requests are those of an ADD and the DEL of its record, which was lost: the DEL leaves no fence yet.
    // The third is the ADD's that finds out about the fence, the fourth that which replaces it.
    let Some(setting) = setting(test, Fault::HeldBack, FENCED + 2) else { return };
    leave_a_fence(&setting);
    setting.uncertain_add("c1");
    setting.network().del("c1").ok();
    setting.proxy.release();
    assert_eq!(setting.holders(), [""; 0]);
}

/// The requests that [`leave_a_fence`] makes.
const FENCED: u32 = 2;

/// A DEL whose record says that an ADD may be under way, while none is: it reads, then writes the fence.
fn leave_a_fence(setting: &Setting) {
    let record = setting.node.path("records/node-1/c1:eth0:blue.json");
    std::fs::create_dir_all(record.parent().unwrap()).unwrap();
    std::fs::write(record, "torn").unwrap();
    setting.network().del("c1").ok();
}

#[test]
fn an_add_whose_answer_is_lost_is_freed_by_its_del() {
    let test = "an_add_whose_answer_is_lost_is_freed_by_its_del";
    let Some(setting) = setting(test, Fault::AnswerLost, 1) else { return };
    setting.uncertain_add("c1");
    assert_eq!(setting.holders(), ["c1/eth0"]);
    setting.network().del("c1").ok();
    assert_eq!((setting.holders(), setting.node.records()), (vec![], vec![]));
}

#[test]
fn an_add_whose_answer_is_lost_gets_the_same_address_when_it_is_repeated() {
    let test = "an_add_whose_answer_is_lost_gets_the_same_address_when_it_is_repeated";
    let Some(setting) = setting(test, Fault::AnswerLost, 1) else { return };
    setting.uncertain_add("c1");
    let held = setting.node.held();
    let repeated = setting.network().add("c1").address();
    assert_eq!(setting.node.held(), held);
    assert_eq!(repeated, format!("{}/24", held[0].0));
}

#[test]
fn a_del_whose_answer_is_lost_is_deferred_and_frees_nothing_of_the_next_holder() {
    let test = "a_del_whose_answer_is_lost_is_deferred_and_frees_nothing_of_the_next_holder";
    let Some(setting) = setting(test, Fault::AnswerLost, 2) else { return };
    setting.node.set_defaults(&json!({}));
    let only = json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.5", "cooldown": "0s" });
    let network = setting.node.network(only);
    network.add("c1").ok();
    network.del("c1").ok();
    setting.proxy.wait_for_the_fault();
    assert_eq!(setting.holders(), [""; 0]);
    assert!(setting.node.log().contains("the release is marked"), "{}", setting.node.log());
    // The DEL performs its own deferred release, since etcd is there again; a busy machine takes a few calls more.
    wait_until("the mark is replayed", || {
        network.add("c2").ok();
        setting.node.records() == ["c2:eth0:blue.json"]
    });
    assert_eq!(setting.holders(), ["c2/eth0"]);
}

/// A request that was answered wrongly arrives later, as its copy in a queue may. The ADD has gone on with the next member.
fn a_late_copy_takes_no_address(test: &str, fault: Fault) {
    for del_first in [true, false] {
        let Some(setting) = setting(test, fault, 1).map(Setting::with_a_healthy_member) else { return };
        let network = setting.network();
        let given = network.add("c1").ok();
        setting.proxy.wait_for_the_fault();
        let held = setting.node.held();
        assert_eq!(held.len(), 1);
        if del_first {
            network.del("c1").ok();
            setting.proxy.release();
        } else {
            setting.proxy.release();
            assert_eq!(setting.node.held(), held);
            network.check("c1", &given).ok();
            network.del("c1").ok();
        }
        assert_eq!((setting.holders(), setting.node.records()), (vec![], vec![]));
    }
}

#[test]
fn a_late_copy_of_what_a_silent_member_took_takes_no_address() {
    a_late_copy_takes_no_address("a_late_copy_of_what_a_silent_member_took_takes_no_address", Fault::HeldBack);
}

#[test]
fn a_late_copy_of_what_a_balancer_answered_with_503_takes_no_address() {
    let test = "a_late_copy_of_what_a_balancer_answered_with_503_takes_no_address";
    a_late_copy_takes_no_address(test, Fault::HeldBackBehind503);
}

#[test]
fn a_late_copy_of_what_a_closed_connection_carried_takes_no_address() {
    let test = "a_late_copy_of_what_a_closed_connection_carried_takes_no_address";
    a_late_copy_takes_no_address(test, Fault::HeldBackAndClosed);
}
