//! Tests of defaults that name another store than that of running pods.

use std::time::Duration;

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Cluster, Machine};
use crate::config::settings_of_defaults;
use crate::deadline::Deadline;
use crate::install::{InstallError, InstallReport, Installer};
use crate::ipam::lease::{Began, PodRef};
use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::record::{Record, RecordState, Records};

impl Machine {
    /// Defaults with this store, and with the records of pods in a folder of the machine.
    fn with_store(&self, store: &Value) -> Value {
        let mut defaults = json!({ "stateDir": self.path("state"), "nodeName": "worker-1" });
        defaults.as_object_mut().unwrap().extend(store.as_object().unwrap().clone());
        self.defaults(&defaults.to_string());
        defaults
    }

    /// A pod's record of an ADD with these defaults.
    fn pod(&self, name: &str, state: RecordState, defaults: &Value) {
        let settings = settings_of_defaults("defaults".as_ref(), defaults.as_object().unwrap());
        let text = |text: &str| Name::new(text).unwrap();
        let id = AttachmentId {
            node: settings.node.clone(),
            container: text(&format!("c-{name}")),
            ifname: IfName::new("net1").unwrap(),
            network: text("db-net"),
        };
        let began = Began { boot: String::new(), boottime: 1 };
        let pod = PodRef { namespace: Some("db".to_owned()), name: Some(name.to_owned()), uid: None };
        let asked = Record::asked(id.clone(), settings.vrf.clone(), settings.store.unwrap(), began);
        let record = Record { pod, state, ..asked };
        let records = Records::new(&settings.state_dir, &settings.node);
        let lock = records.lock(&id, Deadline::after(Duration::from_secs(5))).unwrap();
        records.write(&lock, &record).unwrap();
        if state == RecordState::Releasing {
            records.defer_release(&lock, &record).unwrap();
        }
    }

    fn reconcile(&self) -> Result<(), InstallError> {
        self.installer().reconcile(&Cluster, &mut InstallReport::default())
    }
}

fn etcd(urls: &str) -> Value {
    json!({ "etcdConfig": { "etcdURL": urls } })
}

const KUBERNETES: &str = "kubernetes";

#[test]
fn another_store_is_refused_while_a_pod_has_addresses_in_the_present_one() {
    let machine = Machine::new();
    let present = machine.with_store(&etcd("https://192.0.2.50:2379"));
    machine.reconcile().unwrap();
    machine.pod("pg-0", RecordState::Held, &present);
    machine.pod("pg-1", RecordState::Asked, &present);
    let installed = machine.read("config/kube-ipam.json");

    machine.with_store(&json!({ "store": KUBERNETES }));
    let refused = machine.reconcile().unwrap_err();
    assert_snapshot!(machine.text(&refused), @"the new defaults name another store, which would assign the addresses of running pods again (interfaces on this node: 2, such as that of pod db/pg-0); keep the store, drain the node first, or add --change-store if the new one has these addresses; present store: etcd at https://192.0.2.50:2379; new store: the Kubernetes API, namespace kube-ipam; /config/kube-ipam.json stays as it is");
    assert_eq!(machine.read("config/kube-ipam.json"), installed);
    // So the installer's pod is not Ready.
    assert!(matches!(machine.installer().differences(), Err(InstallError::OtherStore { .. })));

    let installer = machine.installer();
    let mut sources = installer.sources.clone();
    sources.may_change_store = true;
    Installer::new(sources, installer.targets.clone()).reconcile(&Cluster, &mut InstallReport::default()).unwrap();
    assert_eq!(machine.installed_defaults()["store"], KUBERNETES);
    // It has changed, so there is nothing left to be refused.
    machine.reconcile().unwrap();
}

#[test]
fn a_store_may_change_where_no_pod_has_addresses_in_another_one() {
    let present = etcd("https://192.0.2.50:2379,https://192.0.2.58:2379");
    let kubernetes = json!({ "store": KUBERNETES });
    let other_prefix = json!({ "etcdConfig": { "etcdURL": "https://192.0.2.50:2379", "prefix": "/other/" } });
    let cases = [
        ("no pod", None, &kubernetes, true),
        ("a pod that is being deleted", Some(RecordState::Releasing), &kubernetes, true),
        ("the same store", Some(RecordState::Held), &present, true),
        ("a member more", Some(RecordState::Held), &etcd("https://192.0.2.58:2379,https://192.0.2.66:2379"), true),
        ("other members", Some(RecordState::Held), &etcd("https://192.0.2.66:2379"), false),
        ("another prefix", Some(RecordState::Held), &other_prefix, false),
        ("another store", Some(RecordState::Held), &json!({ "store": "embedded" }), false),
    ];
    for (case, pod, next, is_possible) in cases {
        let machine = Machine::new();
        let defaults = machine.with_store(&present);
        machine.reconcile().unwrap();
        if let Some(state) = pod {
            machine.pod("pg-0", state, &defaults);
        }
        machine.with_store(next);
        assert_eq!(machine.reconcile().is_ok(), is_possible, "{case}");
    }
}

#[test]
fn a_node_that_had_no_defaults_keeps_the_store_of_its_pods() {
    let machine = Machine::new();
    let of_blocks = machine.with_store(&etcd("https://192.0.2.50:2379"));
    machine.pod("pg-0", RecordState::Held, &of_blocks);
    machine.with_store(&json!({ "store": KUBERNETES }));
    assert!(matches!(machine.reconcile(), Err(InstallError::OtherStore { count: 1, .. })));
    machine.with_store(&etcd("https://192.0.2.50:2379"));
    machine.reconcile().unwrap();
}
