//! Commands of etcdctl for one configuration.

use crate::explain::{Command, Tool};
use crate::store::EtcdConfig;

/// Writes commands that reach the same etcd with the same certificates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Etcdctl<'a>(pub(super) &'a EtcdConfig);

impl Etcdctl<'_> {
    /// A command for one member, as the configured user. etcdctl asks for the password.
    pub(super) fn at(self, url: &str, words: &[&str]) -> Command {
        self.with_user(url, self.0.username.as_deref(), words)
    }

    /// A command that only an administrator of etcd may run, if it has users.
    pub(super) fn as_root(self, url: &str, words: &[&str]) -> Command {
        self.with_user(url, self.0.username.as_ref().map(|_| "root"), words)
    }

    fn with_user(self, url: &str, user: Option<&str>, words: &[&str]) -> Command {
        let Self(EtcdConfig { cert_file, key_file, ca_file, .. }) = self;
        let mut options = vec![format!("--endpoints={url}")];
        if url.starts_with("https://") {
            for (flag, file) in [("cacert", ca_file), ("cert", cert_file), ("key", key_file)] {
                options.extend(file.as_ref().map(|file| format!("--{flag}={}", file.display())));
            }
        }
        options.extend(user.map(|user| format!("--user={user}")));
        let words: Vec<&str> = options.iter().map(String::as_str).chain(words.iter().copied()).collect();
        Tool::Etcdctl.run(&words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_member_the_files_and_the_user() {
        let plain = EtcdConfig {
            urls: Vec::new(),
            cert_file: Some("/etc/etcd/tls.crt".into()),
            key_file: Some("/etc/my keys/tls.key".into()),
            ca_file: Some("/etc/etcd/ca.crt".into()),
            username: None,
            password_file: None,
            prefix: "/kube-ipam/v1/".to_owned(),
        };
        assert_eq!(
            Etcdctl(&plain).at("http://a:2379", &["endpoint", "status"]).to_string(),
            "etcdctl --endpoints=http://a:2379 endpoint status"
        );
        let user = EtcdConfig { username: Some("kube-ipam".to_owned()), ..plain };
        assert_eq!(
            Etcdctl(&user).at("https://a:2379", &["endpoint", "status"]).to_string(),
            "etcdctl --endpoints=https://a:2379 --cacert=/etc/etcd/ca.crt --cert=/etc/etcd/tls.crt \
             '--key=/etc/my keys/tls.key' --user=kube-ipam endpoint status"
        );
        let disarm = Etcdctl(&user).as_root("https://a:2379", &["alarm", "disarm"]).to_string();
        assert!(disarm.ends_with("--user=root alarm disarm"), "{disarm}");
    }
}
