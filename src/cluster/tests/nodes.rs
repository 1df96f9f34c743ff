//! Reads the labels of a node.

use super::*;
use insta::assert_snapshot;

/// GETs a node's labels from a server with this scenario. Returns the result as displayed, and the requests.
fn labels(scenario: Scenario) -> (Result<BTreeMap<String, String>, String>, Vec<String>) {
    let folder = folder();
    let server = FakeServer::plain(scenario).unwrap();
    let api = ApiServer::open(&written(&folder, &of_token(&server.url())), Deadline::after(LONG)).unwrap();
    let response = api.node_labels(&Name::new("worker-1").unwrap());
    drop(api);
    let url = server.url();
    (response.map_err(|error: ClusterError| shown(error, &url, &folder)), server.requests().unwrap())
}

fn node(labels: &Value) -> Scenario {
    responds(200, &partial(&json!({ "name": "worker-1", "uid": "n-1", "labels": labels })))
}

#[test]
fn the_labels_of_a_node_are_read_by_one_request_for_its_metadata() {
    let (response, requests) = labels(node(&json!({ "topology.kubernetes.io/zone": "a" })));
    assert_eq!(response.unwrap()["topology.kubernetes.io/zone"], "a");
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert!(request.starts_with("GET /api/v1/nodes/worker-1 HTTP/1.1\r\n"), "{request}");
    assert!(request.to_lowercase().contains("accept: application/json;as=partialobjectmetadata;"), "{request}");
    assert!(labels(responds(200, &partial(&json!({ "name": "worker-1", "uid": "n-1" })))).0.unwrap().is_empty());
}

#[test]
fn another_node_is_not_taken_for_this_one_and_a_refusal_names_the_right() {
    let other = responds(200, &partial(&json!({ "name": "worker-2", "uid": "n-2" })));
    assert_snapshot!(labels(other).0.unwrap_err(), @"api_strange 11 the answer of http://api about node worker-1 can't be used: it is about /worker-2; check the server in the kubeconfig: is it the API server, by https, with no proxy in between?");
    let message =
        "nodes \"worker-1\" is forbidden: User \"system:serviceaccount:kube-ipam:kube-ipam\" cannot get resource";
    assert_snapshot!(labels(refuses(403, "Forbidden", message)).0.unwrap_err(), @r#"api_forbidden 11 the API server http://api does not allow user system:serviceaccount:kube-ipam:kube-ipam to get node worker-1; grant it the rule apiGroups [""], resources ["nodes"], verbs ["get"]; the server says: nodes "worker-1" is forbidden: User "system:serviceaccount:kube-ipam:kube-ipam" cannot get resource"#);
}
