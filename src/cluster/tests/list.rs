//! The list of pods is complete, or an error.

use serde_json::{Value, json};

use super::*;
use crate::ipam::sweep::{PodEntry, PodSnapshot};

/// A page of pods in namespace shop, and the token for the next page.
fn page(names: &[&str], rest: &str) -> (u16, Vec<u8>) {
    let item = |name: &&str| json!({"metadata": {"namespace": "shop", "name": name, "uid": format!("u-{name}")}});
    let items: Vec<Value> = names.iter().map(item).collect();
    let list = json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "7", "continue": rest}, "items": items,
    });
    (200, list.to_string().into_bytes())
}

fn status(code: u16, reason: &str, message: &str) -> (u16, Vec<u8>) {
    let status = json!({"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code});
    (code, status.to_string().into_bytes())
}

/// The listed names or the error, and the requests that the server received.
fn list(scenario: Scenario) -> (Result<Vec<String>, String>, Vec<String>) {
    let folder = folder();
    let server = FakeServer::plain(scenario).unwrap();
    let (url, path) = (server.url(), written(&folder, &of_token(&server.url())));
    let api = ApiServer::open_with_timeout(&Access::Kubeconfig(path), SHORT).unwrap();
    let mut names = Vec::new();
    let listed = api.list_unfinished_pods(|pod| names.push(pod.name));
    drop(api);
    (listed.map(|()| names).map_err(|error| shown(error, &url, &folder)), server.requests().unwrap())
}

#[test]
fn all_pages_are_read_of_those_that_have_not_finished_and_their_metadata_only() {
    let (listed, requests) =
        list(Scenario::InTurn(vec![page(&["a", "b"], "t/1"), page(&["c"], "t/2"), page(&["d"], "")]));
    assert_eq!(listed.unwrap(), ["a", "b", "c", "d"]);
    let lines: Vec<&str> = requests.iter().filter_map(|request| request.lines().next()).collect();
    let first = "GET /api/v1/pods?&fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed&limit=250";
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0], format!("{first} HTTP/1.1"));
    assert!(lines[1].starts_with(first) && lines[1].contains("continue=t%2F1"), "{lines:?}");
    assert!(lines[2].starts_with(first) && lines[2].contains("continue=t%2F2"), "{lines:?}");
    let metadata_only = "as=partialobjectmetadatalist;g=meta.k8s.io;v=v1";
    assert!(requests.iter().all(|request| request.to_lowercase().contains(metadata_only)), "{requests:?}");
}

#[test]
fn a_real_server_has_null_for_no_pods() {
    let nobody = json!({"kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "456"}, "items": null});
    let (listed, _) = list(Scenario::InTurn(vec![(200, nobody.to_string().into_bytes())]));
    assert_eq!(listed.unwrap(), Vec::<String>::new());
}

#[test]
fn a_list_that_breaks_off_is_none() {
    let forbidden =
        "pods is forbidden: User \"system:serviceaccount:kube-ipam:kube-ipam\" cannot list resource \"pods\"";
    let nameless = json!({
        "kind": "PartialObjectMetadataList", "metadata": {}, "items": [{"metadata": {"name": "a", "uid": "u"}}],
    });
    let mut texts = Vec::new();
    for (name, last) in [
        ("expired", status(410, "Expired", "The provided continue parameter is too old")),
        ("forbidden", status(403, "Forbidden", forbidden)),
        ("busy", status(429, "TooManyRequests", "later")),
        ("failing", (503, Vec::new())),
        ("garbage", (200, b"<html>".to_vec())),
        ("half a page", (200, page(&["c"], "").1[..60].to_vec())),
        ("another kind", (200, json!({"kind": "PodList", "metadata": {}, "items": []}).to_string().into_bytes())),
        ("no items", (200, json!({"kind": "PartialObjectMetadataList", "metadata": {}}).to_string().into_bytes())),
        ("a pod without a namespace", (200, nameless.to_string().into_bytes())),
    ] {
        for scenario in [vec![last.clone()], vec![page(&["a", "b"], "t"), last.clone()]] {
            let pages = scenario.len();
            let (listed, requests) = list(Scenario::InTurn(scenario));
            assert_eq!(requests.len(), pages, "{name}: nothing is asked twice");
            texts.push(format!("{name}, page {pages}: {}", listed.unwrap_err()));
        }
    }
    texts.retain(|text| text.contains("page 2"));
    insta::assert_snapshot!(texts.join("\n"), @r#"
    expired, page 2: api_gone 11 the API server http://api reports that the list of pods is gone: The provided continue parameter is too old; its first page expired before its last one was read; try again
    forbidden, page 2: api_forbidden 11 the API server http://api does not allow user system:serviceaccount:kube-ipam:kube-ipam to get the list of pods; grant it the rule apiGroups [""], resources ["pods"], verbs ["list"]; the server says: pods is forbidden: User "system:serviceaccount:kube-ipam:kube-ipam" cannot list resource "pods"
    busy, page 2: api_busy 11 the API server http://api is too busy for this request: later; look at the API server and its etcd
    failing, page 2: api_failing 11 the API server http://api failed with status 503: no reason given; look at the API server and its etcd
    garbage, page 2: api_strange 11 the answer of http://api about the list of pods can't be used: it is not JSON (line 1, column 1); check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    half a page, page 2: api_strange 11 the answer of http://api about the list of pods can't be used: it is not JSON (line 1, column 60); check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    another kind, page 2: api_strange 11 the answer of http://api about the list of pods can't be used: it is of kind "PodList", not a list of metadata; check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    no items, page 2: api_strange 11 the answer of http://api about the list of pods can't be used: it is not what was asked for (line 1, column 50); check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    a pod without a namespace, page 2: api_strange 11 the answer of http://api about the list of pods can't be used: /a lacks a namespace, a name or a UID; check the server in the kubeconfig: is it the API server, by https, with no proxy in between?
    "#);
    assert!(list(Scenario::Silent).0.unwrap_err().starts_with("api_slow"));
    assert!(list(Scenario::ClosesInBody).0.unwrap_err().starts_with("api_unreachable"));
}

#[test]
fn a_mirror_pod_is_listed_with_the_hash_of_its_manifest() {
    let body = json!({
        "kind": "PartialObjectMetadataList", "metadata": {}, "items": [{"metadata": {
            "namespace": "shop", "name": "db-0", "uid": "u-1", "annotations": {"kubernetes.io/config.mirror": "c0ffee"},
        }}],
    });
    let folder = folder();
    let server = FakeServer::plain(responds(200, &body)).unwrap();
    let api =
        ApiServer::open_with_timeout(&Access::Kubeconfig(written(&folder, &of_token(&server.url()))), SHORT).unwrap();
    let mut listed = Vec::new();
    api.list_unfinished_pods(|pod| listed.push(PodEntry::from(pod))).unwrap();
    let pods = PodSnapshot::new(listed).unwrap();
    assert!(pods.has(&pod_ref(Some("c0ffee"))) && pods.has(&pod_ref(Some("u-1"))));
    assert!(!pods.has(&pod_ref(Some("decaf"))) && !pods.has(&pod_ref(None)));
}
