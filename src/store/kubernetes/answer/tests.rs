//! Each answer with its meaning and its text. The bodies are those of kube-apiserver 1.34, as
//! e2e/tests/store_kubernetes_answers.rs provokes them, and of common proxies.

use std::time::Duration;

use http::HeaderMap;

use super::super::resource::RESOURCES;
use super::{Asked, Problem, Reply, Response, retry_after};
use crate::apiserver::ConnectionError;
use crate::cause::Cause;

/// The verbs of requests about one object, and of lists.
const ALL: [&str; 5] = ["get", "list", "create", "update", "delete"];
const READS: [&str; 2] = ["get", "list"];
const WRITES: [&str; 3] = ["create", "update", "delete"];

fn asked(verb: &'static str) -> Asked<'static> {
    Asked {
        url: "https://api:6443",
        credentials: "/etc/cni/kubeconfig".to_owned(),
        namespace: "ipam",
        resource: &RESOURCES[0],
        name: if verb == "list" { "" } else { "a" },
        verb,
        verbs: &ALL,
    }
}

/// What an answer means, and the text with which it is reported.
fn meaning(verb: &'static str, status: u16, body: &str) -> String {
    let response = Response { status, retry_after: None, body: body.as_bytes().to_vec() };
    shown(asked(verb).reply(response))
}

fn shown(reply: Reply) -> String {
    match reply {
        Reply::Done(_) => "done".to_owned(),
        Reply::NotFound => "no such object".to_owned(),
        Reply::Conflict => "conflict".to_owned(),
        Reply::Expired => "expired".to_owned(),
        Reply::Later(cause, _) => format!("not applied, later: {cause}"),
        Reply::Silence(cause) => format!("silence: {cause}"),
        Reply::Refused(problem) => format!("not applied: {problem}"),
    }
}

/// A Status object with a message, a reason and details.
fn status(message: &str, reason: &str, details: &str) -> String {
    let message = message.replace('"', "\\\"");
    format!(
        "{{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{{}},\"status\":\"Failure\",\"message\":\"{message}\",\
         \"reason\":\"{reason}\",\"details\":{{{details}}},\"code\":0}}\n"
    )
}

/// An answer, and the verbs for which it has this meaning.
struct Case {
    verbs: &'static [&'static str],
    status: u16,
    body: String,
    meaning: &'static str,
}

fn check(cases: &[Case]) {
    for Case { verbs, status, body, meaning: expected } in cases {
        for verb in *verbs {
            let expected = expected.replace("{verb}", verb).replace("{name}", asked(verb).name);
            assert_eq!(meaning(verb, *status, body), expected, "{verb}: {status} {body}");
        }
    }
}

/// The details of a Status about the object, or about another one.
fn about(name: &str) -> String {
    format!("\"name\":\"{name}\",\"group\":\"kube-ipam.cloudnativer.io\",\"kind\":\"ipleases\"")
}

const PAGE: &str = "<html><body>not here</body></html>";

#[test]
fn an_absence_is_only_the_servers_own_404_about_this_object() {
    let not_found = |name: &str| {
        status(&format!("ipleases.kube-ipam.cloudnativer.io \"{name}\" not found"), "NotFound", &about(name))
    };
    let no_namespace = status("namespaces \"ipam\" not found", "NotFound", "\"name\":\"ipam\",\"kind\":\"namespaces\"");
    let unknown = status("the server could not find the requested resource", "NotFound", "");
    let not_installed = "not applied: the cluster of https://api:6443 has no resource \
                         ipleases.kube-ipam.cloudnativer.io; install kube-ipam's CustomResourceDefinitions";
    check(&[
        Case {
            verbs: &["get", "create", "update", "delete"],
            status: 404,
            body: not_found("a"),
            meaning: "no such object",
        },
        Case { verbs: &["get", "update", "delete"], status: 404, body: not_found("b"), meaning: not_installed },
        Case {
            verbs: &ALL,
            status: 404,
            body: no_namespace,
            meaning: "not applied: there is no namespace ipam in the cluster of https://api:6443; kube-ipam keeps its \
                      objects in it: create it",
        },
        Case { verbs: &ALL, status: 404, body: "404 page not found\n".to_owned(), meaning: not_installed },
        Case { verbs: &ALL, status: 404, body: unknown, meaning: not_installed },
        Case {
            verbs: &READS,
            status: 404,
            body: PAGE.to_owned(),
            meaning: "not applied: https://api:6443 answers status 404 about ipleases, and not in the API server's \
                      words; is it a proxy?",
        },
    ]);
}

#[test]
fn a_refusal_of_a_write_that_is_not_the_servers_own_is_silence() {
    for code in [302, 400, 401, 403, 404, 408, 413, 422] {
        for body in [PAGE, "", "{}", "{\"kind\":\"Status\",\"mess"] {
            for verb in WRITES {
                let expected = format!(
                    "silence: https://api:6443 answers status {code} about ipleases, and not in the API server's words; \
                     is it a proxy?"
                );
                assert_eq!(meaning(verb, code, body), expected, "{verb}: {body}");
            }
        }
    }
}

#[test]
fn a_conflict_is_one_of_a_write() {
    let exists = status("ipleases.kube-ipam.cloudnativer.io \"a\" already exists", "AlreadyExists", &about("a"));
    let changed = "Operation cannot be fulfilled on ipleases.kube-ipam.cloudnativer.io \"a\": the object has been \
                   modified; please apply your changes to the latest version and try again";
    check(&[
        Case { verbs: &["create"], status: 409, body: exists, meaning: "conflict" },
        Case { verbs: &["update"], status: 409, body: status(changed, "Conflict", &about("a")), meaning: "conflict" },
        // It is looked up, whoever sent it.
        Case { verbs: &WRITES, status: 409, body: PAGE.to_owned(), meaning: "conflict" },
    ]);
}

#[test]
fn a_list_may_expire() {
    let expired = "The provided continue parameter is too old to display a consistent list result.";
    check(&[Case { verbs: &["list"], status: 410, body: status(expired, "Expired", ""), meaning: "expired" }]);
}

#[test]
fn whoever_is_refused_is_told_what_to_correct() {
    let rbac = "ipleases.kube-ipam.cloudnativer.io is forbidden: User \"system:serviceaccount:ipam:node\" cannot get \
                resource \"ipleases\" in API group \"kube-ipam.cloudnativer.io\" in the namespace \"ipam\"";
    let webhook = "admission webhook \"deny.example.org\" denied the request: User \"x\" is unknown";
    let policy = "ipleases.kube-ipam.cloudnativer.io \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' \
                  denied request: not today";
    let quota = "ipleases.kube-ipam.cloudnativer.io \"a\" is forbidden: exceeded quota: few, requested: \
                 count/ipleases.kube-ipam.cloudnativer.io=1, used: 0, limited: 0";
    let ending = "ipleases.kube-ipam.cloudnativer.io \"a\" is forbidden: unable to create new content in namespace ipam \
                  because it is being terminated";
    let invalid = "IPLease.kube-ipam.cloudnativer.io \"a\" is invalid: spec.key: Invalid value: \"integer\"";
    check(&[
        Case {
            verbs: &ALL,
            status: 401,
            body: status("Unauthorized", "Unauthorized", ""),
            meaning: "not applied: the API server https://api:6443 does not accept the credentials of \
                      /etc/cni/kubeconfig; renew them",
        },
        Case {
            verbs: &ALL,
            status: 403,
            body: status(rbac, "Forbidden", &about("a")),
            meaning: "not applied: the API server https://api:6443 does not allow kube-ipam to {verb} \
                      ipleases.kube-ipam.cloudnativer.io in namespace ipam; grant it the rule apiGroups \
                      [\"kube-ipam.cloudnativer.io\"], resources [\"ipleases\"], verbs [\"get\", \"list\", \"create\", \
                      \"update\", \"delete\"]; the server says: ipleases.kube-ipam.cloudnativer.io is forbidden: User \
                      \"system:serviceaccount:ipam:node\" cannot get resource \"ipleases\" in API group \
                      \"kube-ipam.cloudnativer.io\" in the namespace \"ipam\"",
        },
        // A status, which nobody else writes.
        Case {
            verbs: &["patch"],
            status: 403,
            body: status(rbac, "Forbidden", &about("a")),
            meaning: "not applied: the API server https://api:6443 does not allow kube-ipam to write the status of \
                      ipleases.kube-ipam.cloudnativer.io in namespace ipam; grant the controller's account the rule \
                      apiGroups [\"kube-ipam.cloudnativer.io\"], resources [\"ipleases/status\"], verbs [\"patch\"]; the \
                      server says: ipleases.kube-ipam.cloudnativer.io is forbidden: User \
                      \"system:serviceaccount:ipam:node\" cannot get resource \"ipleases\" in API group \
                      \"kube-ipam.cloudnativer.io\" in the namespace \"ipam\"",
        },
        // A webhook chooses its status.
        Case {
            verbs: &WRITES,
            status: 403,
            body: status(webhook, "Forbidden", ""),
            meaning: "not applied: an admission check of the cluster refuses to {verb} ipleases {name}: admission webhook \
                      \"deny.example.org\" denied the request: User \"x\" is unknown; let kube-ipam's objects in \
                      namespace ipam pass",
        },
        Case {
            verbs: &WRITES,
            status: 400,
            body: status(webhook, "", ""),
            meaning: "not applied: an admission check of the cluster refuses to {verb} ipleases {name}: admission webhook \
                      \"deny.example.org\" denied the request: User \"x\" is unknown; let kube-ipam's objects in \
                      namespace ipam pass",
        },
        Case {
            verbs: &WRITES,
            status: 422,
            body: status(policy, "Invalid", &about("a")),
            meaning: "not applied: an admission check of the cluster refuses to {verb} ipleases {name}: \
                      ipleases.kube-ipam.cloudnativer.io \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding \
                      'b' denied request: not today; let kube-ipam's objects in namespace ipam pass",
        },
        Case {
            verbs: &["create"],
            status: 403,
            body: status(quota, "Forbidden", &about("a")),
            meaning: "not applied: an admission check of the cluster refuses to create ipleases a: \
                      ipleases.kube-ipam.cloudnativer.io \"a\" is forbidden: exceeded quota: few, requested: \
                      count/ipleases.kube-ipam.cloudnativer.io=1, used: 0, limited: 0; let kube-ipam's objects in \
                      namespace ipam pass",
        },
        Case {
            verbs: &["create"],
            status: 403,
            body: status(ending, "Forbidden", &about("a")),
            meaning: "not applied: namespace ipam is being deleted, and kube-ipam's objects with it; let it be, or restore \
                      them",
        },
        Case {
            verbs: &["create", "update"],
            status: 422,
            body: status(invalid, "Invalid", &about("a")),
            meaning: "not applied: the API server https://api:6443 rejects ipleases a with status 422: \
                      IPLease.kube-ipam.cloudnativer.io \"a\" is invalid: spec.key: Invalid value: \"integer\"; are \
                      kube-ipam's CustomResourceDefinitions of its own version?",
        },
        Case {
            verbs: &["create", "update"],
            status: 413,
            body: status("Request entity too large: limit is 3145728", "RequestEntityTooLarge", ""),
            meaning: "not applied: the API server https://api:6443 rejects ipleases a with status 413: Request entity too \
                      large: limit is 3145728; are kube-ipam's CustomResourceDefinitions of its own version?",
        },
        Case {
            verbs: &["create"],
            status: 405,
            body: status("create not allowed while custom resource definition is terminating", "MethodNotAllowed", ""),
            meaning: "not applied: the API server https://api:6443 answers with status 405 about ipleases: create not \
                      allowed while custom resource definition is terminating",
        },
    ]);
}

#[test]
fn a_failing_server_may_have_applied_a_write() {
    let failures = [
        (500, status("etcdserver: request timed out", "", "")),
        (500, status("Internal error occurred: failed calling webhook \"w\": dial tcp: refused", "InternalError", "")),
        (502, PAGE.to_owned()),
        (503, status("the server is currently unable to handle the request", "ServiceUnavailable", "")),
        (504, status("Timeout: request did not complete within the requested timeout", "Timeout", "")),
        (504, "{\"kind\":\"Stat".to_owned()),
    ];
    for (code, body) in failures {
        for verb in WRITES {
            assert!(
                meaning(verb, code, &body).starts_with("silence: the API server https://api:6443 failed"),
                "{body}"
            );
        }
        for verb in READS {
            assert!(meaning(verb, code, &body).starts_with("not applied, later: "), "{body}");
        }
    }
    assert_eq!(
        meaning("get", 500, &status("etcdserver: request timed out", "", "")),
        "not applied, later: the API server https://api:6443 failed with status 500: etcdserver: request timed out"
    );
}

#[test]
fn a_busy_server_has_not_applied_it_and_may_say_when_to_come_again() {
    let busy = |headers: &[(&'static str, &'static str)]| {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let body = b"Too many requests, please try again later.\n".to_vec();
        match asked("update").reply(Response { status: 429, retry_after: retry_after(&headers), body }) {
            Reply::Later(cause, after) => (cause.to_string(), after),
            other => panic!("{}", shown(other)),
        }
    };
    let text = "the API server https://api:6443 is too busy for kube-ipam's requests: Too many requests, please try again \
                later.";
    assert_eq!(busy(&[]), (text.to_owned(), None));
    assert_eq!(busy(&[("retry-after", "7")]).1, Some(Duration::from_secs(7)));
    // RFC 9110 allows a date, too.
    assert_eq!(busy(&[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")]).1, None);
}

#[test]
fn no_answer_to_a_write_is_silence_unless_it_was_not_sent() {
    let url = || "https://api:6443".to_owned();
    let cause = || Cause::new("reset");
    let unsent = || ConnectionError::NotConnected { url: url(), cause: cause() };
    let lost = [
        || ConnectionError::Lost { url: "https://api:6443".to_owned(), cause: Cause::new("reset") },
        || ConnectionError::TimedOut { url: "https://api:6443".to_owned(), waited: Duration::from_secs(2) },
        || ConnectionError::TooLarge { url: "https://api:6443".to_owned(), limit: 2 << 20 },
    ];
    for verb in ALL {
        assert!(matches!(asked(verb).no_reply(unsent()), Reply::Later(..)), "{verb}");
        let untrusted = ConnectionError::Untrusted {
            url: url(),
            cause: rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer),
        };
        assert!(matches!(asked(verb).no_reply(untrusted), Reply::Refused(Problem::Connection(_))), "{verb}");
        for lost in lost {
            let is_silence = matches!(asked(verb).no_reply(lost()), Reply::Silence(_));
            assert_eq!(is_silence, WRITES.contains(&verb), "{verb}: {}", lost());
        }
    }
}

#[test]
fn a_text_from_outside_is_one_short_line() {
    let long = status(&"x".repeat(400), "", "");
    let text = meaning("get", 418, &long);
    assert!(text.ends_with(&format!("{}…", "x".repeat(300))), "{text}");
    assert!(!meaning("get", 418, &status("a\\nb", "", "")).contains('\n'));
}
