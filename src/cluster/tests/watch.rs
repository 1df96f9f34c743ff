//! What watches deliver, where they continue, and how they end.

use super::*;

/// An empty list at this resourceVersion.
fn list_at(version: &str) -> (u16, Vec<u8>) {
    let list = json!({ "kind": "PartialObjectMetadataList", "metadata": { "resourceVersion": version }, "items": [] });
    (200, list.to_string().into_bytes())
}

/// The lines that a server sends before it ends a watch.
fn said(lines: &[Value]) -> (u16, Vec<u8>) {
    (200, lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes())
}

fn line(r#type: &str, version: &str) -> Value {
    json!({ "type": r#type, "object": { "metadata": { "name": "a", "resourceVersion": version } } })
}

/// How each run of a watch ended, how many deletions it delivered, and the requests that the server received.
fn watch(kind: ResourceKind, runs: usize, scenario: Scenario) -> (Vec<String>, usize, Vec<String>) {
    let folder = folder();
    let server = FakeServer::plain(scenario).unwrap();
    let (url, access) = (server.url(), Access::Kubeconfig(written(&folder, &of_token(&server.url()))));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (mut watch, mut deleted, mut ends) = (Watch::new(kind), 0, Vec::new());
    for _ in 0..runs {
        let run = async {
            let connection = Connection::open(&access).unwrap();
            let hear = |heard: WatchEvent<'_>| {
                if matches!(heard, WatchEvent::Deleted | WatchEvent::PodDeleted(_)) {
                    deleted += 1
                }
            };
            watch.run(&connection, hear).await
        };
        ends.push(match runtime.block_on(run) {
            Ok(ended) => format!("{ended:?}"),
            Err(error) => shown(error, &url, &folder),
        });
    }
    drop(runtime);
    let requests = server.requests().unwrap();
    let asked = |request: &String| request.split(' ').nth(1).unwrap_or_default().to_owned();
    (ends, deleted, requests.iter().map(asked).collect())
}

#[test]
fn a_watch_begins_at_the_present_and_goes_on_where_it_ended() {
    let lines = [line("ADDED", "8"), line("DELETED", "9"), line("MODIFIED", "10"), line("BOOKMARK", "12")];
    let (ends, deleted, asked) =
        watch(ResourceKind::Pod, 2, Scenario::InTurn(vec![list_at("7"), said(&lines), said(&[line("DELETED", "13")])]));
    assert_eq!((ends, deleted), (vec!["TimedOut".to_owned(); 2], 2));
    assert!(asked[0].contains("limit=1") && asked[1].contains("resourceVersion=7"), "{asked:?}");
    assert!(asked[2].contains("resourceVersion=12") && asked[2].contains("status.phase"), "{asked:?}");
}

#[test]
fn a_moment_that_the_server_has_forgotten_is_not_asked_for_again() {
    let gone = json!({ "type": "ERROR", "object": { "kind": "Status", "code": 410, "message": "too old" } });
    for forgotten in [said(&[gone]), (410, b"{}".to_vec())] {
        let scenario = Scenario::InTurn(vec![list_at("7"), forgotten, list_at("20"), said(&[])]);
        let (ends, _, asked) = watch(ResourceKind::StatefulSet, 2, scenario);
        assert_eq!(ends, ["Expired", "TimedOut"]);
        assert!(asked[3].contains("resourceVersion=20"), "{asked:?}");
    }
}

#[test]
fn a_kind_that_is_not_there_or_not_shown_ends_a_watch_with_its_name() {
    let (ends, ..) = watch(ResourceKind::IpamClaim, 1, Scenario::Answers(404, b"404 page not found\n".to_vec()));
    assert_eq!(ends, ["NoSuchResource"]);
    let (ends, ..) = watch(ResourceKind::VirtualMachine, 1, refuses(403, "Forbidden", "no"));
    assert!(ends[0].contains("all objects of kind VirtualMachine"), "{ends:?}");
    assert!(ends[0].contains(r#"resources ["virtualmachines"], verbs ["list", "watch"]"#), "{ends:?}");
}

#[test]
fn what_is_no_watch_or_ends_in_the_middle_is_an_error_and_begins_again_where_it_was() {
    let failing = json!({ "type": "ERROR", "object": { "kind": "Status", "code": 500, "message": "etcd is away" } });
    let scenarios = [said(&[line("ADDED", "8"), failing]), (200, b"garbage\n".to_vec())];
    for (scenario, last) in scenarios.into_iter().zip(["8", "7"]) {
        let (ends, _, asked) = watch(ResourceKind::Pod, 2, Scenario::InTurn(vec![list_at("7"), scenario, said(&[])]));
        assert!(ends[0].starts_with("api_") && ends[1] == "TimedOut", "{ends:?}");
        assert!(asked[2].contains(&format!("resourceVersion={last}")), "{asked:?}");
    }
}

#[test]
fn a_deleted_pod_is_told_with_its_node_and_other_kinds_are_watched_by_their_metadata() {
    let pod = |node: Value| json!({ "type": "DELETED", "object": { "metadata": {}, "spec": { "nodeName": node } } });
    let lines = said(&[pod(json!("worker-1")), pod(json!("")), pod(Value::Null), line("DELETED", "9")]);
    let folder = folder();
    let server = FakeServer::plain(Scenario::InTurn(vec![list_at("7"), lines, list_at("7"), said(&[])])).unwrap();
    let access = Access::Kubeconfig(written(&folder, &of_token(&server.url())));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut nodes: Vec<Option<String>> = Vec::new();
    for kind in [ResourceKind::Pod, ResourceKind::StatefulSet] {
        let run = async {
            let connection = Connection::open(&access).unwrap();
            let hear = |heard: WatchEvent<'_>| match heard {
                WatchEvent::PodDeleted(node) => nodes.push(node.map(str::to_owned)),
                other => panic!("{other:?}"),
            };
            Watch::new(kind).run(&connection, hear).await
        };
        runtime.block_on(run).unwrap();
    }
    drop(runtime);
    assert_eq!(nodes, [Some("worker-1".to_owned()), None, None, None]);
    let requests = server.requests().unwrap();
    let is_metadata = |request: &String| request.contains("PartialObjectMetadata");
    assert_eq!(requests.iter().map(is_metadata).collect::<Vec<_>>(), [true, false, true, true]);
}
