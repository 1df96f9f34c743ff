//! `kubeconfig` and `store-credentials`: whether the credentials of this node can be read, and when they expire.

use std::fs;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::networks;
use crate::certificate::Validity;
use crate::cluster::{Access, ApiServer, Credential, credentials};
use crate::error::{Error, paths};
use crate::explain::{Commands, Tool};
use crate::ops::cluster::kubeconfig;
use crate::ops::operator::doctor::text::time_between;
use crate::ops::operator::doctor::{Context, Outcome, Remedy};
use crate::store::{EtcdConfig, StoreConfig};

/// A certificate that expires sooner has to be renewed now.
const CERTIFICATE_NOTICE: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The same for a token, which its installer renews all the time.
const TOKEN_NOTICE: SignedDuration = SignedDuration::from_mins(5);

/// Who keeps the credentials current.
const RENEW: &str =
    "look whether the installer's pod runs on this node, which keeps it current; otherwise renew it by hand";

/// Whether the API server can be asked with the kubeconfig.
pub(in crate::ops::operator::doctor) fn check_kubeconfig(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let settings = context.node.settings;
    let Some(path) = kubeconfig(settings) else { return report(without_kubeconfig(context)) };
    let object = path.display().to_string();
    let access = Access::Kubeconfig(path.clone());
    // Opening it reads all of its files, and sends no request.
    let opened = ApiServer::open_with_timeout(&access, std::time::Duration::ZERO).map(drop);
    match opened.and_then(|()| credentials(&access)) {
        Ok(parts) => {
            let now = Timestamp::now();
            let judge = Judge { now, commands: &context.options.commands };
            let outcomes = parts.iter().filter_map(|part| judge.credential(&object, part));
            let outcomes: Vec<Outcome> = outcomes.collect();
            if outcomes.is_empty() {
                report(Outcome::ok(&object, format!("the kubeconfig {object} is valid{}", until(&parts, now))));
            }
            outcomes.into_iter().for_each(report);
        }
        Err(error) => {
            let error = Error::from(error);
            let remedy = Remedy::new(error.details()).command(Tool::Ls.run(&["-l", &object]));
            report(Outcome::error(&object, error.message().to_string(), remedy));
        }
    }
}

/// When the first part expires.
fn until(parts: &[Credential], now: Timestamp) -> String {
    let first = parts.iter().min_by_key(|part| part.until);
    first.map_or_else(String::new, |part| format!("; its {} expires in {}", part.what, time_between(part.until, now)))
}

/// Judges when credentials expire.
struct Judge<'a> {
    now: Timestamp,
    commands: &'a Commands,
}

impl Judge<'_> {
    fn credential(&self, kubeconfig: &str, part: &Credential) -> Option<Outcome> {
        let Credential { what, from, until } = part;
        let notice = if *what == "token" { TOKEN_NOTICE } else { CERTIFICATE_NOTICE };
        self.period(kubeconfig, &format!("the {what} of {kubeconfig}"), *from, *until, notice)
    }

    /// What is wrong with the time in which something is valid.
    fn period(
        &self,
        object: &str,
        what: &str,
        from: Option<Timestamp>,
        until: Timestamp,
        notice: SignedDuration,
    ) -> Option<Outcome> {
        let now = self.now;
        let remedy = || Remedy::new(RENEW).command(self.commands.own_pods());
        if until <= now {
            let message = format!("{what} expired {} ago, at {until:.0}", time_between(now, until));
            return Some(Outcome::error(object, message, remedy()));
        }
        if let Some(from) = from.filter(|from| *from > now) {
            let message = format!("{what} is valid only in {}, from {from:.0}", time_between(from, now));
            let remedy = Remedy::new("set this node's clock").command(Tool::Date.run(&["-u"]));
            return Some(Outcome::error(object, message, remedy));
        }
        (until.duration_since(now) < notice).then(|| {
            let message = format!("{what} expires in {}, at {until:.0}", time_between(until, now));
            Outcome::warning(object, message, remedy())
        })
    }

    fn etcd(&self, etcd: &EtcdConfig) -> Vec<Outcome> {
        let certificates = [(&etcd.cert_file, "etcdCertFile"), (&etcd.ca_file, "etcdTrustedCAFile")];
        let certificates =
            certificates.into_iter().filter_map(|(path, key)| self.certificate_file(path.as_deref()?, key));
        let secrets = [(&etcd.key_file, "etcdKeyFile"), (&etcd.password_file, "passwordFile")];
        let secrets = secrets.into_iter().filter_map(|(path, key)| of_secret_file(path.as_deref()?, key));
        certificates.chain(secrets).collect()
    }

    fn certificate_file(&self, path: &Path, key: &str) -> Option<Outcome> {
        let object = path.display().to_string();
        let pem = match fs::read(path) {
            Ok(pem) => pem,
            Err(error) => return Some(unreadable(&object, key, &error)),
        };
        match Validity::of_all_in(&pem) {
            Some(Validity { from, until }) => {
                let what = format!("the certificate {object} ({key})");
                self.period(&object, &what, Some(from), until, CERTIFICATE_NOTICE)
            }
            None => Some(Outcome::error(
                &object,
                format!("{object} ({key}) holds no certificate in PEM form"),
                Remedy::new(RENEW).command(Tool::Openssl.run(&["x509", "-noout", "-dates", "-in", &object])),
            )),
        }
    }
}

fn without_kubeconfig(context: &Context<'_>) -> Outcome {
    let looked_for = &context.node.settings.kubeconfigs;
    let object = paths(looked_for);
    let message = format!("there is no kubeconfig at {object}");
    if !networks::read_pods(context) {
        return Outcome::skipped(object, format!("{message}, and no network of this node reads pods"));
    }
    let message = format!("{message}, so pods are refused on networks that read their annotations");
    let remedy = Remedy::new(
        "on Kubernetes, look why the installer has not written it; elsewhere, set \"annotations\": false in the node \
         defaults if pods never request addresses",
    );
    let remedy = remedy.command(context.options.commands.own_pods());
    // Only in a cluster is it known that pods are meant.
    match context.node.settings.cluster {
        Some(_) => Outcome::error(object, message, remedy),
        None => Outcome::warning(object, message, remedy),
    }
}

/// Whether the credentials for etcd can be read, and when its certificates expire.
pub(in crate::ops::operator::doctor) fn check_store(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let (etcd, store) = match &context.node.settings.store {
        Ok(store @ StoreConfig::Etcd(etcd)) => (etcd, store),
        Ok(StoreConfig::Embedded { .. }) => {
            return report(Outcome::skipped("store", "the embedded store needs no credentials"));
        }
        Ok(StoreConfig::Kubernetes(_)) => {
            return report(Outcome::skipped("store", "the Kubernetes store uses the kubeconfig, see above"));
        }
        Err(_) => {
            let message = "the store is not known, because its configuration is wrong, see above";
            return report(Outcome::skipped("store", message));
        }
    };
    let judge = Judge { now: Timestamp::now(), commands: &context.options.commands };
    let found = judge.etcd(etcd);
    if found.is_empty() {
        let message = format!("the credentials for {store} can be read");
        report(Outcome::ok("store", message));
    }
    found.into_iter().for_each(report);
}

fn of_secret_file(path: &Path, key: &str) -> Option<Outcome> {
    let object = path.display().to_string();
    match fs::read(path) {
        Ok(content) if content.trim_ascii().is_empty() => {
            Some(Outcome::error(&object, format!("{object} ({key}) is empty"), Remedy::new(RENEW)))
        }
        Ok(_) => None,
        Err(error) => Some(unreadable(&object, key, &error)),
    }
}

fn unreadable(object: &str, key: &str, error: &std::io::Error) -> Outcome {
    let remedy = Remedy::new(RENEW).command(Tool::Ls.run(&["-l", object]));
    Outcome::error(object, format!("{object} ({key}) can't be read: {error}"), remedy)
}
