//! How etcd is protected: rights of the user, encryption, and the certificates' time.

use jiff::{SignedDuration, Timestamp};

use super::etcdctl::Etcdctl;
use crate::cause::{Cause, chain};
use crate::certificate::Validity;
use crate::explain::{Command, Tool};
use crate::ops::operator::doctor::check::{Outcome, Remedy};
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::units::{between, span};
use crate::store::{EtcdConfig, KeyPermission, Rights};

/// From how long before its end a certificate is worth a warning: long enough to renew it at leisure.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The role of etcd that may do everything.
const ROOT: &str = "root";

/// The end of a prefix: the slash at its end is followed by `0`.
fn end_of(prefix: &str) -> String {
    format!("{}0", prefix.trim_end_matches('/'))
}

/// Judges whether the user may do what kube-ipam needs, and no more.
pub(super) fn rights(config: &EtcdConfig, url: &str, prefix: &str, found: &Result<Rights, Cause>) -> Outcome {
    let subject = Subject::whole("etcd");
    let rights = match found {
        Ok(rights) => rights,
        Err(cause) => return subject.skipped(format!("the rights could not be read: {}", chain(cause))),
    };
    let Rights { reads_outside, user, roles, permissions } = rights;
    let Some(user) = user else {
        return match reads_outside {
            true => subject.warning(
                "etcd has no users: whoever reaches it can change or delete every address",
                commands(
                    "give kube-ipam a user for its prefix; set username and passwordFile in the defaults of every node before \
                     the last command: from then on, etcd refuses every call without them",
                    enable_users(config, url, prefix),
                ),
            ),
            false => subject.ok(format!("the user can't read outside {prefix}")),
        };
    };
    if roles.iter().any(|role| role == ROOT) {
        let text = "give kube-ipam a user of its own, which may do nothing outside its prefix";
        let message = format!("user {user} has the role root, and can change every key and every user of etcd");
        return subject.warning(message, commands(text, new_user(config, url, prefix)));
    }
    let (from, to) = (prefix.as_bytes(), end_of(prefix));
    for (what, permits) in [
        ("read", (|permission: &KeyPermission| permission.read) as fn(&KeyPermission) -> bool),
        ("write", |permission| permission.write),
    ] {
        if !rights.cover(from, to.as_bytes(), permits) {
            let role = roles.first().map_or("kube-ipam", String::as_str);
            let grant = ["role", "grant-permission", role, "--prefix=true", "readwrite", prefix];
            return subject.error(
                format!("user {user} can't {what} all keys below {prefix}"),
                commands("grant its role readwrite on the whole prefix", [Etcdctl(config).as_root(url, &grant)]),
            );
        }
    }
    if let Some(wide) = permissions.iter().find(|permission| !permission.is_within(from, to.as_bytes())) {
        let (role, keys) = (&wide.role, keys(wide));
        let (from, to) = (text(&wide.from), revoked_end(wide));
        let revoke: Vec<&str> = ["role", "revoke-permission", role, &from].into_iter().chain(to.as_deref()).collect();
        return subject.warning(
            format!("role {role} of user {user} permits more than the prefix {prefix}: {keys}"),
            commands("revoke what no other program of this role needs", [Etcdctl(config).as_root(url, &revoke)]),
        );
    }
    match reads_outside {
        true => subject.warning(
            format!(
                "user {user} is limited to {prefix}, but authentication is not enabled, so everybody may do everything"
            ),
            commands("enable it, once etcd has a user root", [Etcdctl(config).at(url, &["auth", "enable"])]),
        ),
        false => subject.ok(format!("user {user} can read and write {prefix} alone")),
    }
}

fn new_user(config: &EtcdConfig, url: &str, prefix: &str) -> Vec<Command> {
    let steps: [&[&str]; 4] = [
        &["role", "add", "kube-ipam"],
        &["role", "grant-permission", "kube-ipam", "--prefix=true", "readwrite", prefix],
        &["user", "add", "kube-ipam"],
        &["user", "grant-role", "kube-ipam", "kube-ipam"],
    ];
    steps.iter().map(|step| Etcdctl(config).as_root(url, step)).collect()
}

fn enable_users(config: &EtcdConfig, url: &str, prefix: &str) -> Vec<Command> {
    let steps: [&[&str]; 3] = [&["user", "add", "root"], &["user", "grant-role", "root", "root"], &["auth", "enable"]];
    let enable = steps.iter().map(|step| Etcdctl(config).as_root(url, step));
    new_user(config, url, prefix).into_iter().chain(enable).collect()
}

/// The keys of a permission as text.
fn keys(permission: &KeyPermission) -> String {
    let from = text(&permission.from);
    match &permission.to {
        None if permission.from.is_empty() => "all keys".to_owned(),
        None => format!("all keys from {from} on"),
        Some(to) if *to == [permission.from.as_slice(), b"\0"].concat() => format!("key {from}"),
        Some(to) => format!("keys from {from} to {}", text(to)),
    }
}

/// Bytes of a key, printable: etcd accepts any, and somebody else has written this one.
fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// The argument of `role revoke-permission` behind the first key.
fn revoked_end(permission: &KeyPermission) -> Option<String> {
    match &permission.to {
        None => Some("--from-key=true".to_owned()),
        Some(to) if *to == [permission.from.as_slice(), b"\0"].concat() => None,
        Some(to) => Some(text(to)),
    }
}

/// Warns of members that are reached without TLS.
pub(super) fn transport(urls: &[String]) -> Outcome {
    let subject = Subject::whole("etcd");
    let plain: Vec<&str> = urls.iter().filter(|url| !url.starts_with("https://")).map(String::as_str).collect();
    match plain.as_slice() {
        [] => subject.ok("all members are reached by TLS"),
        plain => subject.warning(
            format!("without TLS, anyone on the network path can read and change addresses: {}", plain.join(", ")),
            Remedy::new(
                "give etcd's members certificates, write https URLs in etcdURL and set etcdTrustedCAFile, etcdCertFile and \
                 etcdKeyFile in the node defaults",
            ),
        ),
    }
}

/// Judges until when the certificate is valid that a member presents.
pub(super) fn certificate(url: &str, found: &Result<Validity, Cause>, now: Timestamp) -> Outcome {
    let subject = Subject::new(url);
    let Validity { from, until } = match found {
        Ok(validity) => *validity,
        Err(cause) => return subject.skipped(format!("its certificate could not be read: {}", chain(cause))),
    };
    let dates = Tool::Openssl.run(&["x509", "-noout", "-subject", "-dates"]);
    let look = || {
        let connect = Tool::Openssl.run(&["s_client", "-connect", url.trim_start_matches("https://")]);
        connect.redirected("</dev/null 2>/dev/null").piped_to(&dates)
    };
    let renew = || {
        let text = "renew it on the member, which reads its files again with each connection";
        Remedy::new(text).command(look())
    };
    if until <= now {
        return subject
            .error(format!("its certificate expired {} ago, at {until}", span(between(until, now))), renew());
    }
    if from > now {
        return subject.error(
            format!("its certificate is valid only from {from} on, and this machine's clock says {now:.0}"),
            commands(
                "correct the clock of this machine, or renew the certificate",
                [Tool::Timedatectl.run(&["status"]), look()],
            ),
        );
    }
    let left = span(between(now, until));
    match until.duration_since(now) < EXPIRES_SOON {
        true => subject.warning(format!("its certificate expires in {left}, at {until}"), renew()),
        false => subject.ok(format!("its certificate is valid for another {left}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::operator::doctor::check::Status;

    const PREFIX: &str = "/kube-ipam/v1/";

    fn config() -> EtcdConfig {
        EtcdConfig {
            urls: Vec::new(),
            cert_file: None,
            key_file: None,
            ca_file: None,
            username: Some("kube-ipam".to_owned()),
            password_file: None,
            prefix: PREFIX.to_owned(),
        }
    }

    fn permission(from: &str, to: Option<&str>, (read, write): (bool, bool)) -> KeyPermission {
        let to = to.map(|to| to.as_bytes().to_vec());
        KeyPermission { role: "ipam".to_owned(), read, write, from: from.into(), to }
    }

    fn own() -> KeyPermission {
        permission(PREFIX, Some("/kube-ipam/v10"), (true, true))
    }

    fn judged(
        reads_outside: bool,
        user: Option<&str>,
        roles: &[&str],
        permissions: Vec<KeyPermission>,
    ) -> (Status, String) {
        let rights = Rights {
            reads_outside,
            user: user.map(str::to_owned),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            permissions,
        };
        let result = super::rights(&config(), "http://a", PREFIX, &Ok(rights));
        (result.status, result.message)
    }

    #[test]
    fn rights_are_to_be_those_of_the_prefix_and_no_more() {
        let user = Some("kube-ipam");
        let (status, message) = judged(false, user, &["ipam"], vec![own()]);
        assert!(status == Status::Ok, "{message}");
        let cases = [
            (judged(true, None, &[], Vec::new()), "etcd has no users"),
            (judged(true, user, &["root"], Vec::new()), "user kube-ipam has the role root"),
            (
                judged(
                    false,
                    user,
                    &["ipam"],
                    vec![own(), permission("/registry/", Some("/registry0"), (true, false))],
                ),
                "role ipam of user kube-ipam permits more than the prefix /kube-ipam/v1/: keys from /registry/ to /registry0",
            ),
            (
                judged(false, user, &["ipam"], vec![permission("", None, (true, true))]),
                "role ipam of user kube-ipam permits more than the prefix /kube-ipam/v1/: all keys",
            ),
            (
                judged(true, user, &["ipam"], vec![own()]),
                "user kube-ipam is limited to /kube-ipam/v1/, but authentication is not enabled",
            ),
        ];
        for ((status, message), expected) in cases {
            assert!(status == Status::Warning && message.starts_with(expected), "{message}");
        }
        let (status, message) =
            judged(false, user, &["ipam"], vec![permission(PREFIX, Some("/kube-ipam/v10"), (true, false))]);
        assert!(
            status == Status::Error && message == "user kube-ipam can't write all keys below /kube-ipam/v1/",
            "{message}"
        );
    }

    #[test]
    fn a_certificate_is_worth_a_warning_before_it_ends() {
        let now: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap_or_default();
        let at = |days: i64| now + SignedDuration::from_hours(24 * days);
        let judged = |from: i64, until: i64| {
            let validity = Validity { from: at(from), until: at(until) };
            let outcome = certificate("https://a:2379", &Ok(validity), now);
            (outcome.status, outcome.message)
        };
        assert!(judged(-10, 31).0 == Status::Ok);
        assert!(matches!(judged(-10, 29), (Status::Warning, message) if message.contains("expires in 29d")));
        assert!(matches!(judged(-10, -2), (Status::Error, message) if message.contains("expired 2d ago")));
        assert!(matches!(judged(1, 90), (Status::Error, message) if message.contains("is valid only from")));
    }
}
