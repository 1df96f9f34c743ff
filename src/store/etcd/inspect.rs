//! Inspects the members of etcd for `kube-ipam doctor`, each by itself. Only reads.
//!
//! A store uses whichever member serves a request, so a member that is down goes unnoticed there until the last one
//! fails. Everything here names the member.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions, StatusResponse};
use tokio::runtime::{Builder, Runtime};

use super::certificate;
use super::endpoint::Endpoint;
use super::failure::{self, MemberFailure};
use super::rights::{self, Rights};
use crate::cause::Cause;
use crate::certificate::Validity;
use crate::deadline::Deadline;
use crate::store::{EtcdConfig, Key, StoreError};

/// What a member reports about itself (`Status` of etcd's maintenance service).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberStatus {
    /// etcd's version, such as `3.5.9`.
    pub version: String,
    /// The member's ID.
    pub id: u64,
    /// The ID of its cluster.
    pub cluster: u64,
    /// The leader's ID, as the member knows it; 0 if there is none.
    pub leader: u64,
    /// Whether it is a learner, which has no vote and serves no transaction.
    pub is_learner: bool,
    /// The size of its database file, in bytes.
    pub size: u64,
    /// How much of the file is in use, in bytes.
    pub in_use: u64,
    /// The quota of the file (`--quota-backend-bytes`), in bytes. etcd reports it since version 3.6.
    pub quota: Option<u64>,
    /// The revision of the whole key space.
    pub revision: u64,
    /// Its own messages, with the alarms of all members: `memberID:42 alarm:NOSPACE`.
    pub messages: Vec<String>,
}

impl MemberStatus {
    /// Whether an alarm of this name (`NOSPACE`, `CORRUPT`) is raised in its cluster.
    pub fn has_alarm(&self, name: &str) -> bool {
        let alarms = self.messages.iter().filter_map(|message| message.trim().rsplit_once("alarm:"));
        alarms.into_iter().any(|(_, alarm)| alarm == name)
    }

    fn read(status: &StatusResponse) -> Self {
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        let header = status.header();
        Self {
            version: status.version().to_owned(),
            id: header.map_or(0, |header| header.member_id()),
            cluster: header.map_or(0, |header| header.cluster_id()),
            leader: status.leader(),
            is_learner: status.is_learner(),
            size: number(status.db_size()),
            in_use: number(status.raft_used_db_size()),
            quota: Some(number(status.db_size_quota())).filter(|quota| *quota > 0),
            revision: header.map_or(0, |header| number(header.revision())),
            messages: status.errors().to_vec(),
        }
    }
}

/// Inspects the members of one etcd.
pub struct EtcdInspector {
    config: EtcdConfig,
    prefix: String,
    runtime: Runtime,
}

impl EtcdInspector {
    /// An inspector of the members of this configuration. Nothing is sent yet.
    pub fn new(config: EtcdConfig) -> io::Result<Self> {
        let prefix = format!("{}/", config.prefix.trim_end_matches('/'));
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { config, prefix, runtime })
    }

    /// The configuration.
    pub fn config(&self) -> &EtcdConfig {
        &self.config
    }

    /// The prefix of every key, with its trailing slash.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The members' URLs with their schemes, in the order of the configuration.
    pub fn urls(&self) -> Result<Vec<String>, StoreError> {
        Ok(Endpoint::all(&self.config)?.iter().map(|endpoint| endpoint.url().to_owned()).collect())
    }

    /// The status of a member.
    pub fn status(&self, url: &str, deadline: Deadline) -> Result<MemberStatus, Cause> {
        self.run(url, deadline, async |client, _| {
            let status = client.maintenance_client().status().await?;
            Ok(MemberStatus::read(&status))
        })
    }

    /// How long some reads of a key take, one after the other. They are linearizable, so the member has to reach the
    /// leader, as for a transaction.
    pub fn read_times(&self, url: &str, key: &Key, reads: usize, deadline: Deadline) -> Result<Vec<Duration>, Cause> {
        let key = format!("{}{key}", self.prefix);
        self.run(url, deadline, async |client, _| {
            let mut times = Vec::with_capacity(reads);
            let mut kv = client.kv_client();
            for _ in 0..reads {
                let began = Instant::now();
                kv.get(key.as_str(), None).await?;
                times.push(began.elapsed());
            }
            Ok(times)
        })
    }

    /// The oldest revision that etcd still keeps, at most `current`. It finds it by halving, since no request of etcd
    /// tells it: a read of a compacted revision fails.
    pub fn oldest_revision(&self, url: &str, key: &Key, current: u64, deadline: Deadline) -> Result<u64, Cause> {
        let key = format!("{}{key}", self.prefix);
        self.run(url, deadline, async |client, _| {
            let mut kv = client.kv_client();
            // 1 is the revision of an empty store.
            let (mut compacted, mut kept) = (1, current.max(2));
            while kept - compacted > 1 {
                let middle = compacted + (kept - compacted) / 2;
                let revision = i64::try_from(middle).unwrap_or(i64::MAX);
                let options = GetOptions::new().with_revision(revision).with_serializable().with_count_only();
                match kv.get(key.as_str(), Some(options)).await {
                    Ok(_) => kept = middle,
                    Err(e) if is_compacted(&e) => compacted = middle,
                    Err(e) => return Err(e),
                }
            }
            Ok(kept)
        })
    }

    /// What the configured user may read and write.
    pub fn rights(&self, url: &str, deadline: Deadline) -> Result<Rights, Cause> {
        let user = match (&self.config.username, &self.config.cert_file) {
            (Some(user), _) => Some(user.clone()),
            // etcd uses the common name of a client's certificate as its user.
            (None, Some(file)) if url.starts_with("https://") => certificate::name_of_file(file)?,
            _ => None,
        };
        self.run(url, deadline, async |client, _| rights::read(client, user.as_deref()).await)
    }

    /// When the certificate is valid that a member presents; `None` without TLS. It is read from a handshake of its
    /// own and not verified, so one that has expired is returned as well.
    pub fn server_certificate(&self, url: &str, deadline: Deadline) -> Option<Result<Validity, Cause>> {
        url.starts_with("https://").then(|| certificate::served(url, deadline))
    }

    fn run<T>(
        &self,
        url: &str,
        deadline: Deadline,
        request: impl AsyncFnOnce(&Client, &str) -> Result<T, etcd_client::Error>,
    ) -> Result<T, Cause> {
        let endpoints = Endpoint::all(&self.config).map_err(Cause::new)?;
        let endpoint = endpoints.iter().find(|endpoint| endpoint.url() == url);
        let endpoint = endpoint.ok_or_else(|| Cause::new(format!("{url} is not configured")))?;
        let answer = self.runtime.block_on(async {
            let client = endpoint.connect_client(deadline).await?;
            let answer = with_deadline(deadline, request(&client, endpoint.url())).await?;
            answer.map_err(|e| failure::from_response_error(&e, &self.config))
        });
        answer.map_err(|failure| match failure {
            MemberFailure::Refused(error) | MemberFailure::InvalidConfig(error) => Cause::new(error),
            other => Cause::new(other.to_string()),
        })
    }
}

async fn with_deadline<T>(deadline: Deadline, answer: impl Future<Output = T>) -> Result<T, MemberFailure> {
    tokio::time::timeout_at(deadline.instant().into(), answer).await.map_err(|_| failure::timed_out())
}

fn is_compacted(e: &etcd_client::Error) -> bool {
    matches!(e, etcd_client::Error::GRpcStatus(status) if status.message().contains("required revision has been compacted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_read_from_the_messages_of_a_status() {
        let with = |messages: &[&str]| MemberStatus {
            messages: messages.iter().map(|message| (*message).to_owned()).collect(),
            ..MemberStatus::default()
        };
        // The text of an alarm in etcd 3.4 to 3.6 (`AlarmMember.String` of gogo and of Go's protobuf).
        let full = with(&["memberID:10276657743932975437 alarm:NOSPACE "]);
        assert!(full.has_alarm("NOSPACE") && !full.has_alarm("CORRUPT"));
        let both = with(&["etcdserver: no leader", "memberID:1 alarm:NOSPACE", "memberID:2  alarm:CORRUPT"]);
        assert!(both.has_alarm("NOSPACE") && both.has_alarm("CORRUPT"));
        assert!(!with(&["etcdserver: no leader"]).has_alarm("NOSPACE"));
        assert!(!with(&[]).has_alarm("NOSPACE"));
    }
}
