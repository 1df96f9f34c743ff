//! The members of etcd: whether each is reached, takes part in one cluster, and has room.

use std::collections::BTreeSet;
use std::time::Duration;

use super::etcdctl::Etcdctl;
use crate::cause::{Cause, chain};
use crate::explain::Command;
use crate::ops::operator::doctor::check::{Outcome, Remedy, Status};
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::units::{size, span};
use crate::store::{EtcdConfig, MemberStatus};

/// etcd's default for `--quota-backend-bytes`. Before version 3.6 no request tells the real one.
const DEFAULT_QUOTA: u64 = 2 << 30;

/// The share of the quota in percent from which the database file is nearly full, and from which it is as good as full.
const NEARLY_FULL: u64 = 80;
const FULL: u64 = 95;

/// An ADD sends several requests one after another. If one read takes this part of its time, they can't all be in time.
pub(super) const SLOW_SHARE: u32 = 10;

/// How many old revisions etcd may keep. With leases of 1 KiB, these are half of its default quota.
const MANY_REVISIONS: u64 = 1_000_000;

/// A member of the configuration, and what was found out about it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) url: String,
    pub(super) status: Result<MemberStatus, Cause>,
    /// How long some linearizable reads took; `None` if they were not tried.
    pub(super) reads: Option<Result<Vec<Duration>, Cause>>,
}

/// Whether each member is reached and takes part.
pub(super) fn reached(config: &EtcdConfig, members: &[Member]) -> Vec<Outcome> {
    members.iter().map(|member| reached_one(config, member, members)).collect()
}

/// Whether the database file of each member has room.
pub(super) fn space(config: &EtcdConfig, members: &[Member]) -> Vec<Outcome> {
    members.iter().filter_map(|member| space_of(config, member)).collect()
}

/// Whether each member is fast enough for a call with this time limit. Only the times of a node count.
pub(super) fn latency(config: &EtcdConfig, members: &[Member], timeout: Duration, is_node: bool) -> Vec<Outcome> {
    members.iter().filter_map(|member| latency_of(config, member, timeout, is_node)).collect()
}

fn known(members: &[Member]) -> impl Iterator<Item = (&str, &MemberStatus)> {
    members.iter().filter_map(|member| Some((member.url.as_str(), member.status.as_ref().ok()?)))
}

fn reached_one(config: &EtcdConfig, member: &Member, members: &[Member]) -> Outcome {
    let subject = Subject::new(member.url.as_str());
    let etcdctl = Etcdctl(config);
    let look = || etcdctl.at(&member.url, &["endpoint", "status", "-w", "table"]);
    let status = match &member.status {
        Ok(status) => status,
        Err(cause) => {
            let others = known(members).count();
            let rest = match others {
                0 => "no other member answers either, so no address is assigned".to_owned(),
                _ => format!("calls use the other members ({others} of {} answer)", members.len()),
            };
            let remedy = "look at the member and the network between; if it is gone for good, take it out of etcdURL";
            return subject.error(format!("it can't be used: {}; {rest}", chain(cause)), commands(remedy, [look()]));
        }
    };
    let first = known(members).map(|(_, status)| status.cluster).find(|cluster| *cluster != 0);
    if first.is_some_and(|first| status.cluster != 0 && first != status.cluster) {
        return subject.error(
            "it belongs to another etcd cluster than the members before it: one address may get two owners",
            commands(
                "keep the members of one cluster in etcdURL, and take this one out at once",
                [etcdctl.at(&member.url, &["member", "list", "-w", "table"])],
            ),
        );
    }
    if status.is_learner {
        return subject.warning(
            format!("etcd {}: it is a learner, which serves no transaction", status.version),
            commands(
                "promote it once it has caught up, or take it out of etcdURL",
                [etcdctl.as_root(&member.url, &["member", "promote", &format!("{:x}", status.id)])],
            ),
        );
    }
    if status.leader == 0 {
        return subject.error(
            format!("etcd {}: it has no leader, so it serves no transaction", status.version),
            commands("most of the cluster's members have to run and reach each other", [look()]),
        );
    }
    // Without a quorum, a member still reports the leader that it had.
    if let Some(Err(cause)) = &member.reads {
        return subject.error(
            format!("etcd {}: it answers, but a read of kube-ipam's keys fails: {}", status.version, chain(cause)),
            commands("if it has lost its leader, most members have to run and reach each other", [look()]),
        );
    }
    let role = if status.leader == status.id { "leader" } else { "follower" };
    subject.ok(format!("etcd {}, {role}", status.version))
}

/// Whether an alarm is raised.
pub(super) fn alarms(config: &EtcdConfig, members: &[Member]) -> Outcome {
    let subject = Subject::whole("etcd");
    let Some((url, status)) = known(members).next() else { return subject.skipped("no member answers") };
    let etcdctl = Etcdctl(config);
    let raised = |name: &str| known(members).any(|(_, status)| status.has_alarm(name));
    if raised("CORRUPT") {
        return subject.error(
            "alarm CORRUPT: the members disagree about what they hold, and refuse every request",
            commands(
                "restore etcd from a snapshot, on all members; kube-ipam then writes back what runs (`kube-ipam recovery`)",
                [
                    etcdctl.as_root(url, &["alarm", "list"]),
                    etcdctl.as_root(url, &["endpoint", "hashkv", "-w", "table"]),
                ],
            ),
        );
    }
    if raised("NOSPACE") {
        let revision = known(members).map(|(_, status)| status.revision).max().unwrap_or(status.revision);
        return subject.error(
            "alarm NOSPACE: the database file of a member is full, so nothing can be assigned",
            commands("make room, then disarm the alarm", make_room(config, members, revision, true)),
        );
    }
    subject.ok("no alarm is raised")
}

/// The commands that make room. Members are defragmented one after the other, because each stops meanwhile.
fn make_room(config: &EtcdConfig, members: &[Member], revision: u64, disarm: bool) -> Vec<Command> {
    let etcdctl = Etcdctl(config);
    let urls: Vec<&str> = known(members).map(|(url, _)| url).collect();
    let first = urls.first().copied().unwrap_or_default();
    let mut commands = vec![etcdctl.as_root(first, &["compact", &revision.to_string()])];
    commands.extend(urls.iter().map(|url| etcdctl.as_root(url, &["defrag"])));
    commands.extend(disarm.then(|| etcdctl.as_root(first, &["alarm", "disarm"])));
    commands
}

fn space_of(config: &EtcdConfig, member: &Member) -> Option<Outcome> {
    let status = member.status.as_ref().ok()?;
    let subject = Subject::new(member.url.as_str());
    let quota = status.quota.unwrap_or(DEFAULT_QUOTA);
    let share = status.size.saturating_mul(100) / quota.max(1);
    let of = match status.quota {
        Some(quota) => format!("the quota of {}", size(quota)),
        None => format!("etcd's default quota of {} (etcd {} does not tell its own)", size(quota), status.version),
    };
    let unused = status.size.saturating_sub(status.in_use);
    let message =
        format!("the database file has {}, {share} % of {of}; {} of it unused", size(status.size), size(unused));
    if share < NEARLY_FULL {
        return Some(subject.ok(message));
    }
    let fault = if share < FULL { Status::Warning } else { Status::Error };
    let text = match unused.saturating_mul(2) > status.size {
        true => "defragment it, which gives back the unused part; the member stops meanwhile",
        false => "compact and defragment it, look who else writes into this etcd, or raise --quota-backend-bytes",
    };
    let room = make_room(config, std::slice::from_ref(member), status.revision, false);
    Some(subject.fault(fault, message, commands(text, room)))
}

fn latency_of(config: &EtcdConfig, member: &Member, timeout: Duration, is_node: bool) -> Option<Outcome> {
    let Some(Ok(reads)) = &member.reads else { return None };
    let slowest = *reads.iter().max()?;
    let subject = Subject::new(member.url.as_str());
    let message = format!("the slowest of {} reads took {}", reads.len(), milliseconds(slowest));
    if slowest < timeout / SLOW_SHARE {
        return Some(subject.ok(message));
    }
    if !is_node {
        return Some(subject.skipped(format!("{message} from this machine, which is no node; a node's count")));
    }
    let text = "an ADD sends several requests; look at the disk of the member (etcd wants its WAL synced within 10 ms) and at \
                the network, or raise `timeout`";
    let look = Etcdctl(config).at(&member.url, &["check", "perf"]);
    Some(subject.warning(
        format!("{message}, and a call has {} for all of them (timeout)", span(timeout)),
        commands(text, [look]),
    ))
}

pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Whether all members have one version; `None` if none answers.
pub(super) fn versions(members: &[Member]) -> Option<Outcome> {
    let versions: BTreeSet<&str> = known(members).map(|(_, status)| status.version.as_str()).collect();
    let subject = Subject::whole("etcd");
    let list = versions.iter().copied().collect::<Vec<_>>().join(", ");
    match versions.len() {
        0 => None,
        1 => Some(subject.ok(format!("all members that answer have version {list}"))),
        _ => Some(subject.warning(
            format!("the members have different versions: {list}"),
            Remedy::new("finish the upgrade; until then the cluster keeps to what the oldest version can"),
        )),
    }
}

/// Judges how much history etcd keeps. `oldest` is the oldest revision that can still be read.
pub(super) fn compaction(config: &EtcdConfig, url: &str, oldest: Result<u64, Cause>, current: u64) -> Outcome {
    let subject = Subject::whole("etcd");
    let oldest = match oldest {
        Ok(oldest) => oldest,
        Err(cause) => return subject.skipped(format!("the oldest revision could not be found: {}", chain(&cause))),
    };
    let kept = current.saturating_sub(oldest);
    if kept < MANY_REVISIONS {
        return subject.ok(format!("etcd keeps {kept} old revisions, from revision {oldest} on"));
    }
    subject.warning(
        format!("etcd keeps {kept} old revisions, from revision {oldest} on; each takes room in the database file"),
        commands(
            "start the members with --auto-compaction-retention=1h, and compact etcd once by hand",
            [Etcdctl(config).as_root(url, &["compact", &current.to_string()])],
        ),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use super::*;

    fn config() -> EtcdConfig {
        EtcdConfig {
            urls: Vec::new(),
            cert_file: None,
            key_file: None,
            ca_file: None,
            username: None,
            password_file: None,
            prefix: "/kube-ipam/v1/".to_owned(),
        }
    }

    fn healthy() -> MemberStatus {
        MemberStatus {
            version: "3.5.9".to_owned(),
            id: 1,
            cluster: 9,
            leader: 1,
            is_learner: false,
            size: 20 << 20,
            in_use: 15 << 20,
            quota: None,
            revision: 100,
            messages: Vec::new(),
        }
    }

    fn member(url: &str, status: MemberStatus) -> Member {
        Member { url: url.to_owned(), status: Ok(status), reads: Some(Ok(vec![Duration::from_millis(2); 3])) }
    }

    fn judge(members: &[Member]) -> Vec<Outcome> {
        let config = config();
        let mut outcomes = reached(&config, members);
        outcomes.push(alarms(&config, members));
        outcomes.extend(space(&config, members));
        outcomes.extend(latency(&config, members, Duration::from_secs(10), true));
        outcomes.extend(versions(members));
        outcomes
    }

    fn found(members: &[Member]) -> Vec<String> {
        let faults = judge(members).into_iter().filter(|outcome| outcome.status != Status::Ok);
        faults.map(|outcome| outcome.message).collect()
    }

    #[test]
    fn healthy_members_pass_every_check() {
        let follower = MemberStatus { id: 2, ..healthy() };
        let members = [member("http://a", healthy()), member("http://b", follower)];
        assert_eq!(found(&members), [""; 0]);
        let messages: Vec<String> = judge(&members).into_iter().map(|outcome| outcome.message).collect();
        assert_eq!(messages[..2], ["http://a: etcd 3.5.9, leader", "http://b: etcd 3.5.9, follower"]);
    }

    #[test]
    fn each_fault_of_a_member_is_named() {
        let cases: [(MemberStatus, &str); 9] = [
            (MemberStatus { is_learner: true, ..healthy() }, "http://b: etcd 3.5.9: it is a learner"),
            (MemberStatus { leader: 0, ..healthy() }, "http://b: etcd 3.5.9: it has no leader"),
            (MemberStatus { cluster: 8, ..healthy() }, "http://b: it belongs to another etcd cluster"),
            (
                MemberStatus { version: "3.4.1".to_owned(), ..healthy() },
                "the members have different versions: 3.4.1, 3.5.9",
            ),
            (MemberStatus { messages: vec!["memberID:1 alarm:NOSPACE ".to_owned()], ..healthy() }, "alarm NOSPACE"),
            (MemberStatus { messages: vec!["memberID:1 alarm:CORRUPT ".to_owned()], ..healthy() }, "alarm CORRUPT"),
            (
                MemberStatus { size: 1_700 << 20, ..healthy() },
                "http://b: the database file has 1.7 GiB, 83 % of etcd's default quota",
            ),
            (
                MemberStatus { size: 8 << 30, quota: Some(8 << 30), ..healthy() },
                "http://b: the database file has 8.0 GiB, 100 % of the quota of 8.0 GiB",
            ),
            (MemberStatus { size: 8 << 30, quota: Some(20 << 30), ..healthy() }, ""),
        ];
        for (status, expected) in cases {
            let found = found(&[member("http://a", healthy()), member("http://b", status)]);
            let text = found.first().cloned().unwrap_or_default();
            assert!(text.starts_with(expected) && found.len() <= 1, "{expected}: {found:?}");
            assert_eq!(expected.is_empty(), found.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn a_member_that_does_not_answer_is_an_error_and_says_what_that_means() {
        let down = || Member { url: "http://b".to_owned(), status: Err(Cause::new("connection refused")), reads: None };
        let one = found(&[member("http://a", healthy()), down()]);
        assert_eq!(
            one,
            ["http://b: it can't be used: connection refused; calls use the other members (1 of 2 answer)"]
        );
        let all = found(&[down()]);
        assert!(all[0].ends_with("no other member answers either, so no address is assigned"), "{all:?}");
        let no_quorum = Member { reads: Some(Err(Cause::new("no answer in time"))), ..member("http://a", healthy()) };
        assert!(found(&[no_quorum])[0].contains("a read of kube-ipam's keys fails: no answer in time"));
    }

    #[test]
    fn reads_that_take_a_tenth_of_a_call_are_too_slow() {
        let reads = |slowest: u64| Member {
            reads: Some(Ok(vec![Duration::from_millis(1), Duration::from_millis(slowest)])),
            ..member("http://a", healthy())
        };
        assert_eq!(found(&[reads(999)]), [""; 0]);
        assert_eq!(
            found(&[reads(1000)]),
            ["http://a: the slowest of 2 reads took 1000.0 ms, and a call has 10s for all of them (timeout)"]
        );
        let elsewhere = latency(&config(), &[reads(1000)], Duration::from_secs(10), false);
        assert_eq!(elsewhere[0].status, Status::Skipped, "{elsewhere:?}");
    }

    #[test]
    fn room_is_made_on_every_member_and_the_alarm_disarmed_last() {
        let full = MemberStatus { messages: vec!["memberID:1 alarm:NOSPACE ".to_owned()], ..healthy() };
        let alarm = alarms(&config(), &[member("http://a", full), member("http://b", healthy())]);
        assert_eq!(
            alarm.remedy.unwrap().commands,
            [
                "etcdctl --endpoints=http://a compact 100",
                "etcdctl --endpoints=http://a defrag",
                "etcdctl --endpoints=http://b defrag",
                "etcdctl --endpoints=http://a alarm disarm",
            ]
        );
    }

    #[test]
    fn an_etcd_that_nobody_compacts_is_a_warning() {
        let judged = |oldest, current| compaction(&config(), "http://a", oldest, current);
        assert!(judged(Ok(2), 1_000_001).status == Status::Ok);
        assert!(judged(Ok(2), 1_000_002).status == Status::Warning);
        assert!(judged(Ok(5_000_000), 5_000_100).status == Status::Ok);
        assert!(judged(Err(Cause::new("denied")), 5).status == Status::Skipped);
    }
}
