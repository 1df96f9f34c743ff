//! Runs the client against a fake server with scenarios.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

mod claims;
mod events;
mod kubeconfig;
mod list;
mod nodes;
mod server;
mod watch;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::server::{FakeServer, Scenario};
use super::*;
use crate::cni::Code;
use crate::error::Error;
use crate::ipam::reservation::OwnerKind;
use crate::ipam::takeover::{InUseReason, check_holder};

const TOKEN: &str = "eyJhbGciOi.secret.token";

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap()
}

/// A kubeconfig with one cluster and one user. JSON is valid YAML.
fn one_cluster(cluster: Value, user: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    })
}

/// Writes a kubeconfig into a folder.
fn written(folder: &TempDir, kubeconfig: &Value) -> PathBuf {
    let path = folder.path().join("kubeconfig");
    fs::write(&path, kubeconfig.to_string()).unwrap();
    path
}

fn of_token(url: &str) -> Value {
    one_cluster(json!({"server": url}), json!({"token": TOKEN}))
}

fn pod_ref(uid: Option<&str>) -> PodRef {
    PodRef { namespace: Some("shop".to_owned()), name: Some("db-0".to_owned()), uid: uid.map(str::to_owned) }
}

fn metadata() -> Value {
    json!({
        "namespace": "shop", "name": "db-0", "uid": "u-1", "resourceVersion": "7",
        "annotations": {"kube-ipam.net1.ip": "10.188.0.10"},
        "labels": {"app": "db"},
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "u-8"},
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u-9", "controller": true},
        ],
    })
}

fn partial(metadata: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

fn responds(status: u16, body: &Value) -> Scenario {
    Scenario::Answers(status, body.to_string().into_bytes())
}

fn refuses(status: u16, reason: &str, message: &str) -> Scenario {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
        "details": {"name": "db-0", "kind": "pods"}, "code": status,
    });
    responds(status, &body)
}

/// GETs a pod from a server with this scenario within `time`. Returns the result and the requests.
fn ask(scenario: Scenario, pod: &PodRef, time: Duration) -> (Result<Pod, ClusterError>, Vec<String>) {
    let folder = folder();
    let server = FakeServer::plain(scenario).unwrap();
    let api = ApiServer::open(&written(&folder, &of_token(&server.url())), Deadline::after(time)).unwrap();
    let response = api.pod(pod);
    drop(api);
    (response, server.requests().unwrap())
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_secs(2);

/// Replaces the actual waiting time, which is shorter, in snapshots.
const SHOWN_WAIT: Duration = Duration::from_secs(4);

/// How long a busy machine may take between two lines.
const LEEWAY: Duration = Duration::from_secs(3);

/// Label, code and texts of an error, without what varies between runs.
fn shown(error: ClusterError, url: &str, folder: &TempDir) -> String {
    let error = match error {
        ClusterError::TimedOut { url, waited } => {
            assert!(waited < SHOWN_WAIT, "{waited:?}");
            ClusterError::TimedOut { url, waited: SHOWN_WAIT }
        }
        error => error,
    };
    let error = Error::from(error);
    let text = format!("{} {} {}", error.label(), error.code().number(), error.full());
    assert!(!text.contains("secret"), "{text}");
    text.replace(url, "http://api").replace(&folder.path().display().to_string(), "/etc")
}

#[test]
fn a_pod_is_read_by_one_request_for_its_metadata() {
    let (response, requests) = ask(responds(200, &partial(&metadata())), &pod_ref(Some("u-1")), LONG);
    let pod = response.unwrap();
    let controller = pod.controller.clone().unwrap();
    assert_eq!((pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()), ("shop", "db-0", "u-1"));
    assert_eq!(pod.annotations["kube-ipam.net1.ip"], "10.188.0.10");
    assert_eq!(pod.labels["app"], "db");
    assert_eq!((controller.group.as_str(), controller.kind.as_str()), ("apps", "StatefulSet"));
    assert_eq!((controller.name.as_str(), controller.uid.as_str()), ("db", "u-9"));

    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let (line, headers) = request.split_once("\r\n").unwrap();
    assert_eq!(line, "GET /api/v1/namespaces/shop/pods/db-0 HTTP/1.1");
    let headers = headers.to_lowercase();
    assert!(headers.contains("accept: application/json;as=partialobjectmetadata;g=meta.k8s.io;v=v1"), "{headers}");
    assert!(headers.contains(&format!("authorization: bearer {TOKEN}").to_lowercase()), "{headers}");
}

#[test]
fn nothing_of_the_environment_is_read() {
    let test = "cluster::tests::a_pod_is_read_by_one_request_for_its_metadata";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, "http://127.0.0.1:1");
    }
    for name in ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBE_RS_DEBUG_OVERRIDE_URL"] {
        command.env(name, "/of/calico");
    }
    let output = command.env("HTTPS_PROXY", ":: no URL").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn every_scenario_without_a_pod_has_its_own_error_after_one_request() {
    let changed = |key: &str, value: Value| {
        let mut metadata = metadata();
        metadata[key] = value;
        responds(200, &partial(&metadata))
    };
    let forbidden = "pods \"db-0\" is forbidden: User \"system:serviceaccount:kube-system:kube-ipam\" cannot get resource \
                     \"pods\" in API group \"\" in the namespace \"shop\"";
    let scenarios = [
        ("closes at once", Scenario::Closes, LONG),
        ("slow headers", Scenario::Silent, SHORT),
        ("slow body", Scenario::StopsInBody, SHORT),
        ("broken body", Scenario::ClosesInBody, LONG),
        ("endless body", Scenario::Endless, LONG),
        ("401", refuses(401, "Unauthorized", "Unauthorized"), LONG),
        ("403", refuses(403, "Forbidden", forbidden), LONG),
        ("403 of a proxy", Scenario::Answers(403, b"<html>no\r\n".to_vec()), LONG),
        ("404", refuses(404, "NotFound", "pods \"db-0\" not found"), LONG),
        ("404 of a proxy", Scenario::Answers(404, b"<html>".to_vec()), LONG),
        ("404 of another object", responds(404, &json!({"kind": "Status", "reason": "NotFound", "details": {}})), LONG),
        ("410", refuses(410, "Expired", "too old resource version"), LONG),
        ("429", refuses(429, "TooManyRequests", "too many requests, please try again later"), LONG),
        ("500", refuses(500, "InternalError", "etcdserver: request timed out\nand more"), LONG),
        ("503", Scenario::Answers(503, Vec::new()), LONG),
        ("a redirection", Scenario::Answers(307, Vec::new()), LONG),
        ("garbage", Scenario::Answers(200, b"\x00\xffsecret".to_vec()), LONG),
        ("half an answer", Scenario::Answers(200, b"{\"kind\":\"Partial".to_vec()), LONG),
        ("JSON of another shape", responds(200, &json!(["secret"])), LONG),
        ("another kind", responds(200, &json!({"kind": "Pod", "metadata": metadata()})), LONG),
        ("another pod", changed("name", json!("db-1")), LONG),
        ("no UID", changed("uid", Value::Null), LONG),
        ("replaced", changed("uid", json!("u-2")), LONG),
        (
            "a static pod written anew",
            changed(
                "annotations",
                json!({"kubernetes.io/config.mirror": "decaf", "kubernetes.io/config.hash": "decaf"}),
            ),
            LONG,
        ),
    ];
    let mut texts = Vec::new();
    for (name, scenario, time) in scenarios {
        let folder = folder();
        let sandbox = if name.contains("static") { "c0ffee" } else { "u-1" };
        let server = FakeServer::plain(scenario).unwrap();
        let (url, path) = (server.url(), written(&folder, &of_token(&server.url())));
        let api = ApiServer::open(&path, Deadline::after(time)).unwrap();
        let error = api.pod(&pod_ref(Some(sandbox))).unwrap_err();
        drop(api);
        let requests = server.requests().unwrap();
        assert_eq!(requests.len(), 1, "{name}: {requests:?}");
        texts.push(format!("{name}: {}", shown(error, &url, &folder)));
    }
    insta::assert_snapshot!(texts.join("\n"), @r#"
    closes at once: api_unreachable 11 the API server http://api can't be reached: connection closed before message completed; a pod gets no address before its annotations are known; check that the API server is up, and that this node can reach it
    slow headers: api_slow 11 the API server http://api did not answer within 4.0s; a pod gets no address before its annotations are known; check that the API server is up, and that this node can reach it
    slow body: api_slow 11 the API server http://api did not answer within 4.0s; a pod gets no address before its annotations are known; check that the API server is up, and that this node can reach it
    broken body: api_unreachable 11 the API server http://api can't be reached: the connection broke: error reading a body from connection: end of file before message length reached; a pod gets no address before its annotations are known; check that the API server is up, and that this node can reach it
    endless body: api_strange 11 the answer of http://api about pod shop/db-0 can't be used: it is larger than 2 MiB; check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    401: api_unauthorized 11 the API server http://api does not accept the credentials of /etc/kubeconfig; its token or certificate has expired, or belongs to another cluster; renew it (the installer's DaemonSet does, if its pod runs on this node)
    403: api_forbidden 11 the API server http://api does not allow user system:serviceaccount:kube-system:kube-ipam to get pod shop/db-0; grant it the rule apiGroups [""], resources ["pods"], verbs ["get"]; the server says: pods "db-0" is forbidden: User "system:serviceaccount:kube-system:kube-ipam" cannot get resource "pods" in API group "" in the namespace "shop"
    403 of a proxy: api_forbidden 11 the API server http://api does not allow this user to get pod shop/db-0; grant it the rule apiGroups [""], resources ["pods"], verbs ["get"]; the server says: no reason given
    404: api_not_found 11 the API server http://api knows no pod shop/db-0; it was deleted in the meantime, or the kubeconfig belongs to another cluster
    404 of a proxy: api_strange 11 the answer of http://api about pod shop/db-0 can't be used: it has status 404: no reason given; check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    404 of another object: api_strange 11 the answer of http://api about pod shop/db-0 can't be used: it has status 404: no reason given; check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    410: api_gone 11 the API server http://api reports that pod shop/db-0 is gone: too old resource version; it was deleted in the meantime
    429: api_busy 11 the API server http://api is too busy for this request: too many requests, please try again later; look at the API server and its etcd
    500: api_failing 11 the API server http://api failed with status 500: etcdserver: request timed out and more; look at the API server and its etcd
    503: api_failing 11 the API server http://api failed with status 503: no reason given; look at the API server and its etcd
    a redirection: api_strange 11 the answer of http://api about pod shop/db-0 can't be used: it has status 307: no reason given; check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    garbage: api_strange 11 the answer of http://api about pod shop/db-0 can't be used: it is not JSON (line 1, column 1); check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    half an answer: api_strange 11 the answer of http://api about pod shop/db-0 can't be used: it is not JSON (line 1, column 16); check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    JSON of another shape: api_strange 11 the answer of http://api about pod shop/db-0 can't be used: it is not what was asked for (line 1, column 10); check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    another kind: api_strange 11 the answer of http://api about pod shop/db-0 can't be used: it is of kind "Pod", not PartialObjectMetadata; check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    another pod: api_strange 11 the answer of http://api about pod shop/db-0 can't be used: it is about shop/db-1; check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    no UID: api_strange 11 the answer of http://api about pod shop/db-0 can't be used: it is not what was asked for (line 1, column 117); check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    replaced: replaced 11 pod shop/db-0 was replaced: this sandbox belongs to UID u-1, and the API server has UID u-2; the new pod gets its own sandbox, and the runtime deletes this one
    a static pod written anew: replaced 11 pod shop/db-0 was replaced: this sandbox belongs to UID c0ffee, and the API server has UID u-1; the new pod gets its own sandbox, and the runtime deletes this one
    "#);
}

#[test]
fn a_refused_connection_names_the_server() {
    let folder = folder();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    let api = ApiServer::open(&written(&folder, &of_token(&url)), Deadline::after(LONG)).unwrap();
    let error = api.pod(&pod_ref(None)).unwrap_err();
    insta::assert_snapshot!(shown(error, &url, &folder), @r"
    api_unreachable 11 the API server http://api can't be reached: tcp connect error: Connection refused (os error 111); a pod gets no address before its annotations are known; check that the API server is up, and that this node can reach it
    ");
}

#[test]
fn a_server_that_never_ends_its_handshake_is_not_waited_for_as_long_as_an_answer() {
    let folder = folder();
    let server = FakeServer::plain(Scenario::Silent).unwrap();
    let url = server.url().replace("http", "https");
    let cluster = json!({"server": url, "insecure-skip-tls-verify": true});
    let path = written(&folder, &one_cluster(cluster, json!({})));
    let api = ApiServer::open(&path, Deadline::after(LONG)).unwrap();
    let error = api.pod(&pod_ref(None)).unwrap_err();
    drop(api);
    insta::assert_snapshot!(shown(error, &url, &folder), @r"
    api_unreachable 11 the API server http://api can't be reached: no connection within 1.5s; a pod gets no address before its annotations are known; check that the API server is up, and that this node can reach it
    ");
    assert!(server.requests().unwrap().is_empty());
}

#[test]
fn a_server_may_have_a_path_and_is_shown_without_a_query() {
    let folder = folder();
    let server = FakeServer::plain(refuses(404, "NotFound", "")).unwrap();
    let url = format!("{}/k8s/clusters/c-1/?token=secret", server.url());
    let api = ApiServer::open(&written(&folder, &of_token(&url)), Deadline::after(LONG)).unwrap();
    let error = api.pod(&pod_ref(None)).unwrap_err();
    drop(api);
    let text = shown(error, &server.url(), &folder);
    assert!(text.starts_with("api_not_found 11 the API server http://api/k8s/clusters/c-1 knows no pod"), "{text}");
    let [request] = server.requests().unwrap().try_into().unwrap();
    assert!(request.starts_with("GET /k8s/clusters/c-1/api/v1/namespaces/shop/pods/db-0 HTTP/1.1\r\n"), "{request}");
}

#[test]
fn names_that_would_make_another_request_are_not_sent() {
    let folder = folder();
    let api = ApiServer::open(&written(&folder, &of_token("http://127.0.0.1:1")), Deadline::after(LONG)).unwrap();
    for (namespace, name) in [
        (None, Some("db-0")),
        (Some("shop"), None),
        (Some("shop"), Some("../../secrets/db")),
        (Some("shop"), Some("db-0?watch=1")),
        (Some("shop/pods"), Some("db-0")),
        (Some("."), Some("db-0")),
        (Some("shop"), Some("..")),
        (Some("shop"), Some("DB")),
        (Some("shop"), Some("db%2F")),
        (Some("shop"), Some("db-0\r\nx: y")),
    ] {
        let pod = PodRef { namespace: namespace.map(str::to_owned), name: name.map(str::to_owned), uid: None };
        let error = api.pod(&pod).unwrap_err();
        assert!(matches!(error, ClusterError::Name { .. }), "{pod:?}: {error}");
        assert_eq!(Error::from(error).code(), Code::ENVIRONMENT);
    }
    let error = Error::from(api.pod(&PodRef::default()).unwrap_err());
    insta::assert_snapshot!(error.full(), @r#"
    "" is not a valid namespace in Kubernetes; the container runtime passes K8S_POD_NAMESPACE and K8S_POD_NAME in CNI_ARGS
    "#);
}

#[test]
fn a_mirror_pod_is_compared_by_its_hash() {
    let mut metadata = metadata();
    metadata["annotations"] = json!({"kubernetes.io/config.mirror": "c0ffee", "kubernetes.io/config.hash": "c0ffee"});
    let (response, _) = ask(responds(200, &partial(&metadata)), &pod_ref(Some("c0ffee")), LONG);
    assert!(response.unwrap().is_mirror());
}

#[test]
fn without_a_uid_of_the_runtime_any_pod_of_the_name_is_the_one() {
    let (response, _) = ask(responds(200, &partial(&metadata())), &pod_ref(None), LONG);
    assert_eq!(response.unwrap().uid, "u-1");
}

#[test]
fn a_pod_may_have_nothing_but_its_names() {
    let least = json!({"namespace": "shop", "name": "db-0", "uid": "u-1"});
    let (response, _) = ask(responds(200, &partial(&least)), &pod_ref(None), LONG);
    let pod = response.unwrap();
    assert!(pod.annotations.is_empty() && pod.labels.is_empty() && pod.controller.is_none());
}

#[test]
fn of_a_holder_s_pod_it_is_told_whether_it_is_there_and_how_it_is() {
    let pod = |phase: &str, deleted: bool| {
        let mut metadata = metadata();
        metadata["creationTimestamp"] = json!("2026-11-01T10:00:00Z");
        if deleted {
            metadata["deletionTimestamp"] = json!("2026-11-02T10:00:30Z");
            metadata["deletionGracePeriodSeconds"] = json!(30);
        }
        let status = json!({"phase": phase, "startTime": "2026-11-01T10:00:01Z"});
        responds(200, &json!({"kind": "Pod", "metadata": metadata, "spec": {"containers": []}, "status": status}))
    };
    let bare = json!({"kind": "Pod", "metadata": metadata()});
    let undated = json!({"kind": "Pod", "metadata": {"namespace": "shop", "name": "db-0", "uid": "u-1", "deletionTimestamp": "soon"}});
    let absent = json!({"kind": "Status", "reason": "NotFound", "details": {"name": "db-0", "kind": "pods"}});
    let other = json!({"kind": "Status", "reason": "NotFound", "details": {"name": "db-1", "kind": "pods"}});
    for (what, scenario, uid, expected) in [
        ("running", pod("Running", false), "u-1", "Lives: Running since 2026-11-01T10:00:01Z"),
        ("terminating", pod("Running", true), "u-1", "Lives: Terminating since 2026-11-02T10:00:00Z"),
        ("failed", pod("Failed", false), "u-1", "finished (Failed)"),
        ("of a phase to come", pod("Dreaming", false), "u-1", "Lives: Dreaming since 2026-11-01T10:00:01Z"),
        ("without a status", responds(200, &bare), "u-1", "Lives: Unknown"),
        ("another", pod("Running", false), "00000000-0000-0000-0000-000000000000", "replaced"),
        ("absent", responds(404, &absent), "00000000-0000-0000-0000-000000000000", "gone"),
        ("a 404 about another", responds(404, &other), "u-1", "error: api_strange"),
        ("a 404 of a proxy", Scenario::Answers(404, b"<html>".to_vec()), "u-1", "error: api_strange"),
        ("a bad time", responds(200, &undated), "u-1", "error: api_strange"),
        ("metadata alone", responds(200, &partial(&metadata())), "u-1", "error: api_strange"),
        ("403", refuses(403, "Forbidden", "no"), "u-1", "error: api_forbidden"),
        ("410", refuses(410, "Gone", "no"), "u-1", "error: api_gone"),
    ] {
        let folder = folder();
        let server = FakeServer::plain(scenario).unwrap();
        let api = ApiServer::open(&written(&folder, &of_token(&server.url())), Deadline::after(LONG)).unwrap();
        let holder = pod_ref(Some(uid));
        let said = match api.lookup_pod(&holder).map(|told| check_holder(&holder, &told)) {
            Err(error) => format!("error: {}", error.label()),
            Ok(Err(InUseReason::Running(state))) => format!("Lives: {state}"),
            Ok(Err(in_use)) => format!("{in_use:?}"),
            Ok(Ok(shown)) => shown.to_string(),
        };
        assert_eq!(said, expected, "{what}");
        drop(api);
        let [request] = server.requests().unwrap().try_into().unwrap();
        assert!(request.starts_with("GET /api/v1/namespaces/shop/pods/db-0 HTTP/1.1\r\n"), "{request}");
        assert!(!request.contains("PartialObjectMetadata"), "{request}");
    }
}

#[test]
fn a_stateful_set_counts_from_its_first_ordinal() {
    let set = |spec: Value| json!({"kind": "StatefulSet", "metadata": {"namespace": "shop", "name": "db", "uid": "u"}, "spec": spec});
    for (body, expected) in [
        (set(json!({"replicas": 3})), Some(0)),
        (set(json!({"ordinals": {}})), Some(0)),
        (set(json!({"ordinals": {"start": 5}})), Some(5)),
        (set(json!({"ordinals": {"start": -1}})), None),
        (set(json!({"ordinals": {"start": "5"}})), None),
        (partial(&metadata()), None),
    ] {
        let folder = folder();
        let server = FakeServer::plain(responds(200, &body)).unwrap();
        let api = ApiServer::open(&written(&folder, &of_token(&server.url())), Deadline::after(LONG)).unwrap();
        assert_eq!(api.first_ordinal("shop", "db").ok(), expected, "{body}");
        drop(api);
        let [request] = server.requests().unwrap().try_into().unwrap();
        assert!(request.starts_with("GET /apis/apps/v1/namespaces/shop/statefulsets/db HTTP/1.1\r\n"), "{request}");
    }
}

#[test]
fn two_questions_share_a_connection() {
    let folder = folder();
    // The server sends the same response to both requests, so it does not fit the second one.
    let server = FakeServer::plain(responds(200, &partial(&metadata()))).unwrap();
    let api = ApiServer::open(&written(&folder, &of_token(&server.url())), Deadline::after(LONG)).unwrap();
    assert!(api.pod(&pod_ref(None)).is_ok());
    // The server accepts no second connection while the first is open.
    assert!(matches!(api.first_ordinal("shop", "db-0"), Err(ClusterError::UnexpectedResponse { .. })));
    drop(api);
    assert_eq!(server.requests().unwrap().len(), 2);
}

#[test]
fn the_requests_of_a_call_take_half_of_its_remaining_time() {
    let folder = folder();
    let path = written(&folder, &of_token("http://127.0.0.1:1"));
    for (left, half) in [(60, 30), (8, 4), (2, 1), (0, 0)] {
        let api = ApiServer::open(&path, Deadline::after(Duration::from_secs(left))).unwrap();
        let TimeLimit::PerCall(deadline) = api.limit else { panic!("it has a limit for each request") };
        let (time, half) = (deadline.remaining(), Duration::from_secs(half));
        assert!(half.saturating_sub(LEEWAY) <= time && time <= half, "{time:?} of {left} s");
    }
}

/// A self-signed certificate for 127.0.0.1 and its key, both PEM.
fn certificate(name: &str) -> (String, String) {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A TLS server that requires this client certificate, if any.
fn tls((cert, key): &(String, String), client: Option<&str>) -> ServerConfig {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let builder = ServerConfig::builder();
    let builder = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let mut roots = RootCertStore::empty();
            roots.add(der(client)).unwrap();
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap())
        }
    };
    builder.with_single_cert(vec![der(cert)], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
}

#[test]
fn over_tls_both_sides_know_each_other_by_their_certificates() {
    let folder = folder();
    let (server_pair, client) = (certificate("server"), certificate("client"));
    for (file, content) in [("ca.pem", &server_pair.0), ("client.pem", &client.0), ("client-key.pem", &client.1)] {
        fs::write(folder.path().join(file), content).unwrap();
    }
    let scenario = responds(200, &partial(&metadata()));
    let server = FakeServer::secure(scenario, tls(&server_pair, Some(&client.0))).unwrap();
    let kubeconfig = one_cluster(
        json!({"server": server.url(), "certificate-authority": "ca.pem"}),
        json!({"client-certificate": "client.pem", "client-key": "client-key.pem"}),
    );
    let api = ApiServer::open(&written(&folder, &kubeconfig), Deadline::after(LONG)).unwrap();
    assert_eq!(api.pod(&pod_ref(None)).unwrap().uid, "u-1");
    drop(api);
    assert_eq!(server.requests().unwrap().len(), 1);
}

#[test]
fn a_server_of_another_authority_is_sent_nothing() {
    let folder = folder();
    let (server_pair, other) = (certificate("server"), certificate("other"));
    fs::write(folder.path().join("ca.pem"), &other.0).unwrap();
    let scenario = responds(200, &partial(&metadata()));
    let server = FakeServer::secure(scenario.clone(), tls(&server_pair, None)).unwrap();
    let url = server.url();
    let kubeconfig = one_cluster(json!({"server": url, "certificate-authority": "ca.pem"}), json!({"token": TOKEN}));
    let api = ApiServer::open(&written(&folder, &kubeconfig), Deadline::after(LONG)).unwrap();
    let error = api.pod(&pod_ref(None)).unwrap_err();
    drop(api);
    insta::assert_snapshot!(shown(error, &url, &folder), @r"
    api_untrusted 11 the API server http://api is not trusted: invalid peer certificate: UnknownIssuer; certificate-authority in the kubeconfig must be that of this cluster, and the server's certificate valid for the URL's host
    ");
    assert!(server.requests().unwrap().is_empty());

    let server = FakeServer::secure(scenario, tls(&server_pair, None)).unwrap();
    let careless = json!({"server": server.url(), "insecure-skip-tls-verify": true});
    let kubeconfig = one_cluster(careless, json!({"token": TOKEN}));
    let api = ApiServer::open(&written(&folder, &kubeconfig), Deadline::after(LONG)).unwrap();
    assert!(api.pod(&pod_ref(None)).is_ok());
}

/// Sends a request about an address's owner to a server with this scenario.
fn of_machine<T>(scenario: Scenario, question: impl Fn(&ApiServer, &Owner) -> T) -> (T, Vec<String>) {
    let folder = folder();
    let server = FakeServer::plain(scenario).unwrap();
    let api = ApiServer::open(&written(&folder, &of_token(&server.url())), Deadline::after(LONG)).unwrap();
    let [namespace, name] = ["shop", "db-0"].map(|text| text.parse().unwrap());
    let (kind, uid) = (OwnerKind::VirtualMachineInstance, "u-1".to_owned());
    let response = question(&api, &Owner { kind, cluster: None, namespace, name, uid, pod: None });
    drop(api);
    (response, server.requests().unwrap())
}

#[test]
fn the_controller_of_a_machine_is_read_by_one_request_for_its_metadata() {
    let (controller_of, requests) = of_machine(responds(200, &partial(&metadata())), ApiServer::controller_of);
    assert_eq!(controller_of.unwrap().unwrap().name, "db");
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert!(request.starts_with("GET /apis/kubevirt.io/v1/namespaces/shop/virtualmachineinstances/db-0 "), "{request}");
    let mut another = metadata();
    another["uid"] = json!("u-2");
    let (controller_of, _) = of_machine(responds(200, &partial(&another)), ApiServer::controller_of);
    assert!(matches!(controller_of, Err(ClusterError::Replaced { .. })), "{controller_of:?}");
    let (controller_of, _) = of_machine(refuses(403, "Forbidden", "no"), ApiServer::controller_of);
    let details = controller_of.unwrap_err().details();
    assert!(
        details.contains(r#"apiGroups ["kubevirt.io"], resources ["virtualmachineinstances"], verbs ["get"]"#),
        "{details}"
    );
}

#[test]
fn an_owner_is_gone_by_the_servers_own_404_about_it_and_by_nothing_else() {
    let exists = |scenario| of_machine(scenario, ApiServer::exists).0;
    let mut anew = metadata();
    anew["uid"] = json!("u-2");
    for there in [metadata(), anew] {
        assert!(exists(responds(200, &partial(&there))).unwrap());
    }
    let absent = |group: &str, kind: &str, name: &str| {
        let details = json!({"group": group, "kind": kind, "name": name});
        responds(404, &json!({"kind": "Status", "reason": "NotFound", "message": "no", "details": details}))
    };
    let machines = "virtualmachineinstances";
    assert!(!exists(absent("kubevirt.io", machines, "db-0")).unwrap());
    let others = [
        // A server without the API group, and one that has it without this resource or version.
        Scenario::Answers(404, b"404 page not found\n".to_vec()),
        responds(404, &json!({"kind": "Status", "reason": "NotFound", "details": {}})),
        absent("kubevirt.io", machines, ""),
        absent("kubevirt.io", machines, "db-1"),
        // The namespace does not exist, or the 404 is about another kind with the same name.
        absent("", "namespaces", "db-0"),
        absent("", "pods", "db-0"),
        absent("example.org", machines, "db-0"),
        absent("kubevirt.io", "virtualmachines", "db-0"),
        refuses(403, "Forbidden", "no"),
        refuses(410, "Gone", "no"),
        refuses(503, "ServiceUnavailable", "later"),
        Scenario::Closes,
    ];
    for (n, other) in others.into_iter().enumerate() {
        assert!(exists(other).is_err(), "{n}");
    }
}

#[test]
fn a_claim_that_was_made_anew_is_another_owner() {
    let claim = |api: &ApiServer, owner: &Owner| {
        let claims = [owner.uid.clone(), "u-2".to_owned()];
        claims.map(|uid| api.exists(&Owner { kind: OwnerKind::IpamClaim, uid, ..owner.clone() }).unwrap())
    };
    let (exist, _) = of_machine(responds(200, &partial(&metadata())), claim);
    assert_eq!(exist, [true, false]);
}
