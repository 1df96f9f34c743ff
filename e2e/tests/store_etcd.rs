//! The store on real etcd: the rules of all stores, and what only etcd can do: lose members, refuse users, fill up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{Client, Compare, CompareOp, TxnOp};
use kube_ipam::cause::chain;
use kube_ipam::deadline::Deadline;
use kube_ipam::store::conformance::{self, actors};
use kube_ipam::store::{
    EtcdConfig, EtcdStore, Guard, Key, KeySpan, MAX_OPERATIONS, Op, OpResponse, Outcome, Store, StoreError, Txn,
};
use kube_ipam_e2e::etcd::{self, Cluster};

/// Leaves the test out where there is no etcd.
macro_rules! needs_etcd {
    ($test:literal) => {
        if !etcd::installed_or_skip($test) {
            return;
        }
    };
}

fn store(config: EtcdConfig) -> EtcdStore {
    EtcdStore::new(config, None)
}

fn put(key: &str) -> Txn {
    Txn::new(vec![Guard::Absent(Key::new(key))], vec![Op::Put(Key::new(key), b"{}".to_vec())], vec![]).unwrap()
}

fn within(seconds: u64) -> Deadline {
    Deadline::after(Duration::from_secs(seconds))
}

async fn commit(store: &EtcdStore, key: &str) -> Result<Outcome, StoreError> {
    persist(store, key, within(10)).await
}

/// Commits, and again after silence, as those do who decide.
async fn persist(store: &EtcdStore, key: &str, deadline: Deadline) -> Result<Outcome, StoreError> {
    loop {
        match store.commit(&put(key), deadline).await {
            Err(StoreError::Ambiguous(_)) if !deadline.has_passed() => {}
            answer => return answer,
        }
    }
}

fn denied(outcome: Result<Outcome, StoreError>) -> String {
    match outcome {
        Err(StoreError::Denied(cause)) => chain(&cause).to_string(),
        other => panic!("not denied: {other:?}"),
    }
}

#[tokio::test]
async fn it_keeps_the_rules_of_a_store() {
    needs_etcd!("it_keeps_the_rules_of_a_store");
    let cluster = Cluster::plain(1).unwrap();
    conformance::check(&store(cluster.config())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_at_once_lose_no_update_and_claim_no_key_twice() {
    needs_etcd!("clients_at_once_lose_no_update_and_claim_no_key_twice");
    let cluster = Cluster::plain(1).unwrap();
    let started: Vec<_> = (0..16)
        .map(|i| {
            let store = store(cluster.config());
            tokio::spawn(async move {
                actors::count_up(&store, 3).await?;
                actors::claim(&store, &i.to_string(), 5).await
            })
        })
        .collect();
    for actor in started {
        actor.await.unwrap().unwrap();
    }
    let store = store(cluster.config());
    actors::counted(&store, 16, 3).await.unwrap();
    actors::claimed(&store, 16, 5).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_share_one_store() {
    needs_etcd!("tasks_share_one_store");
    let cluster = Cluster::plain(1).unwrap();
    let shared = Arc::new(store(cluster.config()));
    let started: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&shared);
            tokio::spawn(async move { actors::count_up(&*store, 4).await })
        })
        .collect();
    for actor in started {
        actor.await.unwrap().unwrap();
    }
    actors::counted(&*shared, 8, 4).await.unwrap();
}

#[tokio::test]
async fn two_prefixes_do_not_see_each_other_and_a_slash_at_the_end_makes_no_difference() {
    needs_etcd!("two_prefixes_do_not_see_each_other_and_a_slash_at_the_end_makes_no_difference");
    let cluster = Cluster::plain(1).unwrap();
    let with_prefix = |prefix: &str| store(EtcdConfig { prefix: prefix.to_owned(), ..cluster.config() });
    let (a, slash, longer) = (with_prefix("/a"), with_prefix("/a/"), with_prefix("/ab/"));
    assert!(commit(&a, "k/1").await.unwrap().branch.succeeded);
    assert!(!commit(&slash, "k/1").await.unwrap().branch.succeeded);
    assert!(commit(&longer, "k/1").await.unwrap().branch.succeeded);
    let all = Txn::read(vec![Op::Count(KeySpan::prefix("k/"))]).unwrap();
    assert_eq!(a.commit(&all, within(5)).await.unwrap().branch.responses, [OpResponse::Count(1)]);
    assert_eq!(cluster.etcdctl(&["get", "--prefix", "/a/", "--keys-only"]).unwrap().trim(), "/a/k/1");
}

#[tokio::test]
async fn etcd_counts_operations_as_the_constructor_does() {
    needs_etcd!("etcd_counts_operations_as_the_constructor_does");
    let cluster = Cluster::plain(1).unwrap();
    let mut client = Client::connect(cluster.urls(), None).await.unwrap();
    let absent = |n: usize| (0..n).map(|i| Compare::version(format!("k{i}"), CompareOp::Equal, 0)).collect::<Vec<_>>();
    let gets = |n: usize| (0..n).map(|i| TxnOp::get(format!("k{i}"), None)).collect::<Vec<_>>();
    let nested = |outer: usize, inner: usize| {
        let mut level = gets(outer - 1);
        level.push(TxnOp::txn(etcd_client::Txn::new().when(absent(3)).and_then(gets(inner)).or_else(gets(inner))));
        etcd_client::Txn::new().when(absent(outer)).and_then(level).or_else(gets(outer))
    };
    assert!(client.txn(nested(100, MAX_OPERATIONS - 100)).await.is_ok());
    let error = client.txn(nested(100, MAX_OPERATIONS - 99)).await.unwrap_err().to_string();
    assert!(error.contains("too many operations"), "{error}");
}

#[tokio::test]
async fn etcd_takes_every_order_of_writes_that_the_constructor_takes() {
    needs_etcd!("etcd_takes_every_order_of_writes_that_the_constructor_takes");
    let cluster = Cluster::plain(1).unwrap();
    let store = store(cluster.config());
    let key = || Key::new("k");
    // None is an empty side of a transaction inside.
    let sides = [vec![], vec![Op::Put(key(), vec![])], vec![Op::Delete(key())]];
    let mut rows: Vec<Vec<Op>> = sides.to_vec();
    for then in &sides {
        for otherwise in &sides {
            let inner = Txn::new(vec![Guard::Absent(key())], then.clone(), otherwise.clone()).unwrap();
            rows.push(vec![Op::Txn(Box::new(inner))]);
        }
    }
    let mut taken = 0;
    for first in &rows {
        for second in &rows {
            let both = [first.as_slice(), second.as_slice()].concat();
            if let Ok(txn) = Txn::new(vec![], both, vec![]) {
                store.commit(&txn, within(5)).await.unwrap_or_else(|e| panic!("{txn:?}: {e}"));
                taken += 1;
            }
        }
    }
    assert!(taken > rows.len());
}

#[tokio::test]
async fn a_member_that_was_killed_is_not_noticed() {
    needs_etcd!("a_member_that_was_killed_is_not_noticed");
    let mut cluster = Cluster::plain(3).unwrap();
    let store = store(cluster.config());
    commit(&store, "k/0").await.unwrap();
    for member in 0..3 {
        cluster.kill(member).unwrap();
        let began = Instant::now();
        assert!(commit(&store, &format!("k/{}", member + 1)).await.is_ok());
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        cluster.restart(member).unwrap();
    }
}

#[tokio::test]
async fn a_member_that_hangs_costs_seconds_at_most() {
    needs_etcd!("a_member_that_hangs_costs_seconds_at_most");
    let mut cluster = Cluster::plain(3).unwrap();
    for member in 0..3 {
        cluster.stop(member).unwrap();
        let began = Instant::now();
        commit(&store(cluster.config()), &format!("k/{member}")).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        cluster.go_on(member).unwrap();
    }
}

#[tokio::test]
async fn a_member_that_refuses_connections_is_passed_over() {
    needs_etcd!("a_member_that_refuses_connections_is_passed_over");
    let cluster = Cluster::plain(1).unwrap();
    let mut config = cluster.config();
    config.urls.insert(0, format!("http://127.0.0.1:{}", etcd::free_port().unwrap()));
    let began = Instant::now();
    commit(&store(config), "k/1").await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_member_cut_off_from_its_quorum_answers_with_an_error_within_the_deadline() {
    needs_etcd!("a_member_cut_off_from_its_quorum_answers_with_an_error_within_the_deadline");
    let mut cluster = Cluster::plain(3).unwrap();
    let store = store(cluster.config());
    commit(&store, "k/0").await.unwrap();
    cluster.stop(0).unwrap();
    cluster.stop(1).unwrap();
    let began = Instant::now();
    let error = persist(&store, "k/1", within(3)).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_millis(3500), "{:?}", began.elapsed());
    for url in cluster.urls() {
        assert!(chain(&error).to_string().contains(&url), "{error:?} does not name {url}");
    }
    cluster.go_on(0).unwrap();
    cluster.go_on(1).unwrap();
    commit(&store, "k/2").await.unwrap();
}

#[tokio::test]
async fn when_all_members_are_down_the_error_names_each_and_nothing_happened() {
    // Nothing listens on these, so that no etcd is needed.
    let ports = [etcd::free_port().unwrap(), etcd::free_port().unwrap()];
    let urls: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let config = EtcdConfig {
        urls: urls.clone(),
        cert_file: None,
        key_file: None,
        ca_file: None,
        username: None,
        password_file: None,
        prefix: etcd::PREFIX.to_owned(),
    };
    let began = Instant::now();
    let error = store(config).commit(&put("k/1"), within(1)).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    for url in urls {
        assert!(chain(&error).to_string().contains(&format!("http://{url}: ")), "{error:?}");
    }
    assert!(chain(&error).to_string().contains("refused"), "{error:?}");
}

#[tokio::test]
async fn the_user_of_a_secure_cluster_gets_its_prefix_and_no_other() {
    needs_etcd!("the_user_of_a_secure_cluster_gets_its_prefix_and_no_other");
    let cluster = Cluster::secure(1).unwrap();
    let right = cluster.config();
    conformance::check(&store(right.clone())).await.unwrap();

    let elsewhere = denied(commit(&store(EtcdConfig { prefix: "/other/".to_owned(), ..right.clone() }), "k/1").await);
    assert!(elsewhere.contains("user kube-ipam") && elsewhere.contains("/other/"), "{elsewhere}");

    let wrong = cluster.folder().join("wrong");
    fs::write(&wrong, "wrong password").unwrap();
    let text = denied(commit(&store(EtcdConfig { password_file: Some(wrong.clone()), ..right.clone() }), "k/1").await);
    assert!(text.contains(&wrong.display().to_string()) && !text.contains("wrong password"), "{text}");

    let nobody = EtcdConfig { username: None, password_file: None, ..right.clone() };
    assert!(denied(commit(&store(nobody), "k/1").await).contains("username"));

    let port = cluster.port(0);
    let mut spellings = vec![format!("https://localhost:{port}"), format!("127.0.0.1:{port}")];
    if etcd::has_ipv6() {
        spellings.push(format!("https://[::1]:{port}/"));
    }
    for url in spellings {
        let config = EtcdConfig { urls: vec![url.clone()], ..right.clone() };
        commit(&store(config), &url).await.unwrap_or_else(|e| panic!("{url}: {e}"));
    }
}

#[tokio::test]
async fn files_that_are_missing_or_hold_something_else_are_denied_by_name() {
    let folder = tempfile::Builder::new().prefix("kube-ipam-e2e-").tempdir().unwrap();
    let files = etcd::Certificates::write(folder.path()).unwrap();
    let right = EtcdConfig {
        urls: vec![format!("https://127.0.0.1:{}", etcd::free_port().unwrap())],
        cert_file: Some(files.client_cert.clone()),
        key_file: Some(files.client_key.clone()),
        ca_file: Some(files.ca.clone()),
        username: None,
        password_file: None,
        prefix: etcd::PREFIX.to_owned(),
    };
    let none = || Some(PathBuf::from("/nonexistent/file"));
    let cases = [
        (EtcdConfig { ca_file: none(), ..right.clone() }, "etcdTrustedCAFile /nonexistent/file: there is no such file"),
        (EtcdConfig { cert_file: none(), ..right.clone() }, "etcdCertFile /nonexistent/file: there is no such file"),
        (EtcdConfig { key_file: none(), ..right.clone() }, "etcdKeyFile /nonexistent/file: there is no such file"),
        (EtcdConfig { key_file: None, ..right.clone() }, "etcdCertFile needs etcdKeyFile"),
        (EtcdConfig { ca_file: None, ..right.clone() }, "needs etcdTrustedCAFile"),
        (EtcdConfig { ca_file: right.key_file.clone(), ..right.clone() }, "holds no certificate"),
        (EtcdConfig { key_file: right.ca_file.clone(), ..right.clone() }, "holds no private key"),
        (EtcdConfig { username: Some("u".to_owned()), ..right.clone() }, "username u needs passwordFile"),
        (
            EtcdConfig { username: Some("u".to_owned()), password_file: none(), ..right.clone() },
            "passwordFile /nonexistent/file: there is no such file",
        ),
        (EtcdConfig { urls: vec!["https://a b".to_owned()], ..right.clone() }, "etcdURL \"https://a b\""),
        (EtcdConfig { urls: vec![], ..right }, "etcdURL names no member"),
    ];
    for (config, expected) in cases {
        let text = denied(store(config).commit(&put("k/1"), within(2)).await);
        assert!(text.contains(expected), "{text:?} does not say {expected:?}");
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_spoken_to() {
    needs_etcd!("a_server_of_another_authority_is_not_spoken_to");
    let cluster = Cluster::secure(1).unwrap();
    let folder = tempfile::Builder::new().prefix("kube-ipam-e2e-").tempdir().unwrap();
    let other = etcd::Certificates::write(folder.path()).unwrap();
    let config = EtcdConfig { ca_file: Some(other.ca.clone()), ..cluster.config() };
    let error = store(config).commit(&put("k/1"), within(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(chain(&error).to_string().contains("certificate"), "{error:?}");
}

#[tokio::test]
async fn a_client_certificate_that_the_server_refuses_gets_nothing_done() {
    needs_etcd!("a_client_certificate_that_the_server_refuses_gets_nothing_done");
    let cluster = Cluster::secure(1).unwrap();
    let folder = tempfile::Builder::new().prefix("kube-ipam-e2e-").tempdir().unwrap();
    let other = etcd::Certificates::write(folder.path()).unwrap();
    let right = cluster.config();
    let foreign =
        EtcdConfig { cert_file: Some(other.client_cert), key_file: Some(other.client_key), ..cluster.config() };
    let none = EtcdConfig { cert_file: None, key_file: None, ..right };
    for config in [foreign, none] {
        // How the server's refusal arrives depends on who closes the connection first; here it is before the login.
        let error = store(config).commit(&put("k/1"), within(1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(chain(&error).to_string().contains(&cluster.urls()[0]), "{error:?}");
    }
}

#[tokio::test]
async fn a_session_outlives_a_change_of_the_users() {
    needs_etcd!("a_session_outlives_a_change_of_the_users");
    let cluster = Cluster::secure(3).unwrap();
    let store = store(cluster.config());
    commit(&store, "k/1").await.unwrap();
    cluster.etcdctl(&["role", "add", "another"]).unwrap();
    commit(&store, "k/2").await.unwrap();
}

#[tokio::test]
async fn a_restart_of_a_member_ends_no_session_for_good() {
    needs_etcd!("a_restart_of_a_member_ends_no_session_for_good");
    let mut cluster = Cluster::secure(1).unwrap();
    let store = store(cluster.config());
    commit(&store, "k/1").await.unwrap();
    cluster.kill(0).unwrap();
    cluster.restart(0).unwrap();
    commit(&store, "k/2").await.unwrap();
}

#[tokio::test]
async fn a_full_etcd_is_unavailable_and_the_error_says_what_to_do() {
    needs_etcd!("a_full_etcd_is_unavailable_and_the_error_says_what_to_do");
    let cluster = Cluster::plain_with(1, &["--quota-backend-bytes", "1048576"]).unwrap();
    let store = store(cluster.config());
    // etcd learns the size of its file only when it writes a batch of commits to it, every 100 ms.
    for i in 0..200 {
        let key = Key::new(format!("k/{i}"));
        let large = Txn::new(vec![], vec![Op::Put(key, vec![0; 250_000])], vec![]).unwrap();
        match store.commit(&large, within(5)).await {
            Ok(_) => {}
            Err(StoreError::Unavailable(cause)) => {
                return assert!(cause.to_string().contains("alarm disarm"), "{cause}");
            }
            Err(e) => panic!("{e:?}"),
        }
    }
    panic!("etcd did not fill up");
}

#[tokio::test]
async fn the_last_good_member_is_noted_and_asked_first_by_the_next_process() {
    needs_etcd!("the_last_good_member_is_noted_and_asked_first_by_the_next_process");
    let mut cluster = Cluster::plain(3).unwrap();
    let folder = tempfile::Builder::new().prefix("kube-ipam-e2e-").tempdir().unwrap();
    let (config, urls) = (cluster.config(), cluster.urls());
    let next_process = || EtcdStore::new(config.clone(), Some(folder.path()));
    let note = folder.path().join("etcd-endpoint");
    let noted = || fs::read_to_string(&note).unwrap();
    commit(&next_process(), "k/0").await.unwrap();
    assert_eq!(noted(), urls[0]);
    cluster.kill(0).unwrap();
    commit(&next_process(), "k/1").await.unwrap();
    let other = noted();
    assert!(urls[1..].contains(&other), "{other}");
    // While the member stays the same, the file is left alone; with nonsense in it, all works.
    let written = || fs::metadata(&note).unwrap().modified().unwrap();
    let before = written();
    let began = Instant::now();
    commit(&next_process(), "k/2").await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(written(), before);
    fs::write(&note, [0xff, 0xfe]).unwrap();
    commit(&next_process(), "k/3").await.unwrap();
    assert!(urls[1..].contains(&noted()));
}

#[tokio::test]
async fn an_http_url_with_certificates_works_without_them() {
    needs_etcd!("an_http_url_with_certificates_works_without_them");
    let cluster = Cluster::plain(1).unwrap();
    let config = EtcdConfig { ca_file: Some(PathBuf::from("/nonexistent/ca.pem")), ..cluster.config() };
    commit(&store(config), "k/1").await.unwrap();
}

#[tokio::test]
async fn what_a_silent_member_may_have_taken_is_not_sent_to_another() {
    needs_etcd!("what_a_silent_member_may_have_taken_is_not_sent_to_another");
    let mut cluster = Cluster::plain(3).unwrap();
    // A follower, so that the others can go on without an election.
    let (mut config, mut follower) = (cluster.config(), 0);
    for (member, url) in cluster.urls().iter().enumerate() {
        let mut client = etcd_client::Client::connect([url], None).await.unwrap();
        let status = client.status().await.unwrap();
        if status.leader() != status.header().unwrap().member_id() {
            follower = member;
        }
    }
    config.urls.swap(0, follower);
    let store = store(config);
    commit(&store, "k/0").await.unwrap();
    cluster.stop(follower).unwrap();
    let once = Txn::new(vec![Guard::Absent(Key::new("k/1"))], vec![Op::Put(Key::new("k/1"), vec![])], vec![]).unwrap();
    let silence = store.commit(&once, within(10)).await.unwrap_err();
    assert!(matches!(silence, StoreError::Ambiguous(_)), "{silence:?}");
    // The next request begins with another member, and sees that the first one has not arrived.
    let began = Instant::now();
    assert!(store.commit(&once, within(10)).await.unwrap().branch.succeeded);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // Now it arrives, and finds its guard false.
    cluster.go_on(follower).unwrap();
    commit(&store, "k/2").await.unwrap();
}
