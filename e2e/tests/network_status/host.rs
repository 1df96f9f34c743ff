//! A machine with a store, the controller, and what they show in an API server.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kube_ipam::deadline::Deadline;
use kube_ipam::ops::Session;
use kube_ipam::store::{EtcdConfig, KubernetesConfig};
use kube_ipam_e2e::api_server::{Tenant, User};
use kube_ipam_e2e::etcd::Cluster;
use kube_ipam_e2e::node::{Node, Plugin};
use kube_ipam_e2e::operator::{self, printed};
use kube_ipam_e2e::wait_until;
use serde_json::{Value, json};

/// A definition of network blue: 11 random addresses, and 2 of pool db.
pub(crate) const BLUE: &str = r#"{
    "subnet": "10.1.0.0/28", "cooldown": "1h", "pools": { "db": { "addresses": ["10.1.0.13-10.1.0.14"], "namespaces": ["*"] } }
}"#;

/// The same network in another rack.
pub(crate) const ELSEWHERE: &str = r#"{ "subnet": "10.2.0.0/28", "cooldown": "0s" }"#;

/// A node of a tenant.
pub(crate) struct Host<'tenant> {
    pub(crate) tenant: &'tenant Tenant<'tenant>,
    pub(crate) node: Node,
    /// More options of its controllers.
    options: Vec<String>,
}

/// A controller that ends with its test.
pub(crate) struct Controller {
    process: Child,
    log: PathBuf,
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Controller {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl<'tenant> Host<'tenant> {
    /// With the store in the tenant's namespace.
    pub(crate) fn new(tenant: &'tenant Tenant<'tenant>) -> Self {
        Self::with_store(tenant, Node::on_kubernetes(tenant), &[])
    }

    /// With the store in etcd, below a prefix of its own. Its controllers show the networks in the tenant's namespace.
    pub(crate) fn on_etcd(tenant: &'tenant Tenant<'tenant>) -> Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        // Tenants of two servers may have one name.
        static HOSTS: AtomicU32 = AtomicU32::new(0);
        let etcd = SHARED.get_or_init(|| Cluster::plain(1).unwrap()).config();
        let etcd = EtcdConfig { prefix: format!("/host-{}/", HOSTS.fetch_add(1, Ordering::Relaxed)), ..etcd };
        Self::with_store(tenant, Node::on_etcd(&etcd), &[]).showing_in(tenant.namespace())
    }

    /// The same with an embedded store.
    pub(crate) fn embedded(tenant: &'tenant Tenant<'tenant>) -> Self {
        let node = Node::new(Plugin::kube_ipam());
        Self::with_store(tenant, node, &["--embedded"]).showing_in(tenant.namespace())
    }

    fn with_store(tenant: &'tenant Tenant<'tenant>, node: Node, options: &[&str]) -> Self {
        let kubeconfig = &tenant.owner().kubeconfig;
        let sweep = json!({ "minAge": "0s" });
        node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "sweep": sweep }));
        Self { tenant, node, options: options.iter().map(|option| (*option).to_owned()).collect() }
    }

    /// Its controllers show the networks in this namespace.
    pub(crate) fn showing_in(mut self, namespace: &str) -> Self {
        self.options.retain(|option| !option.starts_with("--network-objects"));
        self.options.push(format!("--network-objects={namespace}"));
        self
    }

    /// Its controllers show no networks.
    pub(crate) fn showing_nothing(mut self) -> Self {
        self.options.retain(|option| !option.starts_with("--network-objects"));
        self
    }

    /// An ADD of a pod, with this definition of the network. Returns its address.
    pub(crate) fn add(&self, pod: &str, definition: &str) -> String {
        let object = self.tenant.pod(pod, &json!({}), "node-1").unwrap();
        let (namespace, uid) = (self.tenant.namespace(), object["metadata"]["uid"].as_str().unwrap());
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={pod};K8S_POD_UID={uid}");
        let network = self.node.network(serde_json::from_str(definition).unwrap());
        let address = network.call("ADD", &format!("c-{pod}")).args(&args).run().ok().address();
        address.split('/').next().unwrap().to_owned()
    }

    pub(crate) fn del(&self, pod: &str, definition: &str) {
        self.node.network(serde_json::from_str(definition).unwrap()).del(&format!("c-{pod}")).ok();
    }

    /// A controller with this user's kubeconfig.
    pub(crate) fn control(&self, name: &str, user: &User) -> Controller {
        let options = ["controller", "--listen", "127.0.0.1:0", "--interval", "100ms", "--settle", "20ms"];
        let mut command = operator::command(&self.node, &options);
        command.args(&self.options);
        command.args(["--lease-name", name, "--lease-namespace", self.tenant.namespace(), "--kubeconfig"]);
        command.arg(&user.kubeconfig).stdout(Stdio::null());
        let log = self.node.path(&format!("{name}.log"));
        Controller { process: command.stderr(File::create(&log).unwrap()).spawn().unwrap(), log }
    }

    /// The path of all networks, or of one.
    pub(crate) fn path(&self, name: &str) -> String {
        let (group, ..) = KubernetesConfig::rule();
        format!("/apis/{group}/v1alpha1/namespaces/{}/ipnetworks{name}", self.tenant.namespace())
    }

    /// The objects of all definitions.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let mut list = self.tenant.server().admin().get(&self.path("")).unwrap();
        serde_json::from_value(list["items"].take()).unwrap()
    }

    /// The object of the definition with this subnet.
    pub(crate) fn object(&self, subnet: &str) -> Option<Value> {
        self.objects().into_iter().find(|item| item["spec"]["summary"]["subnets"] == subnet)
    }

    /// Its status without the time.
    pub(crate) fn status(&self, subnet: &str) -> Value {
        let mut status = self.object(subnet).map_or(Value::Null, |mut object| object["status"].take());
        status.as_object_mut().map(|fields| fields.remove("observed"));
        status
    }

    /// Waits until the totals of a definition are these: held, reserved, resting and free.
    #[track_caller]
    pub(crate) fn shows(&self, subnet: &str, counts: [u64; 4]) {
        let [held, reserved, resting, free] = counts.map(|count| json!(count));
        wait_until(&format!("{subnet} shows {counts:?}"), || {
            let status = self.status(subnet);
            ["held", "reserved", "resting", "free"].map(|field| &status[field]) == [&held, &reserved, &resting, &free]
        });
    }

    /// Changes network blue, in which a pod has an address, and waits until a controller has shown each change.
    #[track_caller]
    pub(crate) fn shows_each_change(&self) {
        self.shows("10.1.0.0/28", [1, 0, 0, 12]);
        self.add("api", BLUE);
        self.shows("10.1.0.0/28", [2, 0, 0, 11]);
        self.del("api", BLUE);
        self.shows("10.1.0.0/28", [1, 0, 1, 11]);
        printed(&self.node, &["reserve", "10.1.0.13", "--reason", "printer", "--yes"]);
        self.shows("10.1.0.0/28", [1, 1, 1, 10]);
    }

    /// Waits until a controller has freed what this pod had. It is the only holder of the network that leaks.
    #[track_caller]
    pub(crate) fn is_freed(&self, pod: &str) {
        let before = held(self);
        self.tenant.delete_pod(pod).unwrap();
        wait_until(&format!("{pod} is freed"), || held(self) < before);
    }

    pub(crate) fn session(&self) -> Session {
        Session::open(self.node.store(), None).unwrap()
    }
}

/// How many addresses are held.
pub(crate) fn held(host: &Host<'_>) -> usize {
    let listed: Vec<Value> = serde_json::from_str(&printed(&host.node, &["list", "-o", "json"])).unwrap();
    listed.iter().filter(|lease| lease["state"] == "held").count()
}

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}
