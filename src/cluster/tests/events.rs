//! Reads the events on a pod.

use super::*;
use crate::ipam::pod::PodEvent;

fn read(scenario: Scenario) -> (Result<Vec<PodEvent>, String>, Vec<String>) {
    let folder = folder();
    let server = FakeServer::plain(scenario).unwrap();
    let url = server.url();
    let api = ApiServer::open(&written(&folder, &of_token(&url)), Deadline::after(LONG)).unwrap();
    let pod =
        PodRef { namespace: Some("shop".to_owned()), name: Some("web-1".to_owned()), uid: Some("u-1".to_owned()) };
    let events = api.events(&pod).map_err(|error| shown(error, &url, &folder));
    drop(api);
    (events, server.requests().unwrap())
}

#[test]
fn events_of_both_forms_are_read_by_one_request_and_those_of_an_earlier_pod_are_not() {
    let items = json!([
        {
            "involvedObject": { "uid": "u-1" }, "reason": "AddressRefused", "message": "10.1.0.8 is held", "count": 3,
            "firstTimestamp": "2026-11-01T10:00:00Z", "lastTimestamp": "2026-11-01T10:05:00Z", "eventTime": null,
            "source": { "component": "kube-ipam", "host": "node-1" }, "reportingComponent": "kube-ipam",
        },
        {
            "involvedObject": { "uid": "u-1" }, "reason": "FailedCreatePodSandBox", "message": null,
            "firstTimestamp": null, "lastTimestamp": null, "eventTime": "2026-11-01T10:01:00.123456Z",
            "series": { "count": 12, "lastObservedTime": "2026-11-01T10:09:00.000000Z" }, "reportingComponent": "kubelet",
        },
        { "involvedObject": { "uid": "u-0" }, "reason": "AddressRefused", "message": "of an earlier pod" },
        { "involvedObject": {}, "source": { "component": "odd" } },
    ]);
    let (events, requests) = read(responds(200, &json!({ "kind": "EventList", "items": items })));
    let shown: Vec<String> = events
        .unwrap()
        .iter()
        .map(|event| {
            let time = |time: Option<jiff::Timestamp>| time.map_or("-".to_owned(), |time| format!("{time:.0}"));
            format!("{} {} {} {} {}", event.component, event.reason, event.count, time(event.first), time(event.last))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "kube-ipam AddressRefused 3 2026-11-01T10:00:00Z 2026-11-01T10:05:00Z",
            "kubelet FailedCreatePodSandBox 12 2026-11-01T10:01:00Z 2026-11-01T10:09:00Z",
            "odd  1 - -",
        ]
    );
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let selected = "fieldSelector=involvedObject.kind%3DPod%2CinvolvedObject.name%3Dweb-1";
    assert!(request.starts_with("GET /api/v1/namespaces/shop/events?") && request.contains(selected), "{request}");
}

#[test]
fn refusals_of_all_namespaces_are_read_by_one_request_and_name_their_pods() {
    let folder = folder();
    let items = json!([
        { "involvedObject": { "namespace": "db", "name": "db-1", "uid": "u-1" }, "message": "10.1.0.8 is held" },
        { "involvedObject": {}, "message": "of nothing" },
    ]);
    let server = FakeServer::plain(responds(200, &json!({ "kind": "EventList", "items": items }))).unwrap();
    let api = ApiServer::open(&written(&folder, &of_token(&server.url())), Deadline::after(LONG)).unwrap();
    let pods: Vec<Option<String>> = api.refusals().unwrap().iter().map(|event| event.pod.label()).collect();
    drop(api);
    assert_eq!(pods, [Some("db/db-1".to_owned()), None]);
    let requests = server.requests().unwrap();
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let selected = "fieldSelector=involvedObject.kind%3DPod%2Creason%3DAddressRefused";
    assert!(request.starts_with("GET /api/v1/events?") && request.contains(selected), "{request}");
}

#[test]
fn a_refusal_names_the_rule_that_is_missing() {
    let message = "events is forbidden: User \"u\" cannot list resource \"events\"";
    let (refused, _) = read(refuses(403, "Forbidden", message));
    let refused = refused.unwrap_err();
    for text in ["does not allow user u to get the events of pod shop/web-1", r#"resources ["events"], verbs ["list"]"#]
    {
        assert!(refused.contains(text), "{refused}");
    }
    let (other, _) = read(responds(200, &json!({ "kind": "PodList", "items": [] })));
    assert!(other.unwrap_err().contains("it is of kind \"PodList\", not EventList"));
}
