//! `event-limit` and `cluster-identity`: what this node has noted about its API server.

use jiff::Timestamp;

use crate::cause::chain;
use crate::cluster::{Access, fingerprint};
use crate::ops::cluster::kubeconfig;
use crate::ops::operator::doctor::text::time_between;
use crate::ops::operator::doctor::{Context, Outcome, Remedy};
use crate::record::{CachedIdentity, EventBudget};

/// The manifest with all rights that kube-ipam uses.
const APPLY_RBAC: [&str; 3] = ["apply", "-f", "examples/install/rbac.yaml"];

/// Whether this node may publish events on pods.
pub(in crate::ops::operator::doctor) fn check_events(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let (now, commands) = (Timestamp::now(), &context.options.commands);
    report(match context.node.records.event_budget(now) {
        Ok(EventBudget { suspended_until: Some(until), .. }) => Outcome::warning(
            "events",
            format!("this node publishes no events on pods for {}: the API server denied it", time_between(until, now)),
            Remedy::new("grant `create events`; the node tries again by itself").command(commands.kubectl(&APPLY_RBAC)),
        ),
        Ok(EventBudget { left: 0, .. }) => Outcome::warning(
            "events",
            "this node has published as many events on pods as it may in ten minutes, so many pods are refused",
            Remedy::new("look why, in the log and in the events that were published").command(commands.kubectl(&[
                "get",
                "events",
                "-A",
                "--field-selector",
                "reason=AddressRefused",
            ])),
        ),
        Ok(EventBudget { left, .. }) => {
            Outcome::ok("events", format!("{left} more events on pods may be published now"))
        }
        Err(error) => Outcome::warning("events", chain(&error).to_string(), Remedy::new(error.details())),
    });
}

/// Whether this node knows to which cluster its pods belong.
pub(in crate::ops::operator::doctor) fn check_identity(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let (settings, commands) = (context.node.settings, &context.options.commands);
    if let Some(cluster) = &settings.cluster {
        return report(Outcome::ok("cluster", format!("the node defaults name the cluster: {cluster}")));
    }
    let Some(path) = kubeconfig(settings) else {
        return report(Outcome::skipped("cluster", "there is no kubeconfig, so no pod of a cluster is expected"));
    };
    let Ok(server) = fingerprint(&Access::Kubeconfig(path)) else {
        return report(Outcome::skipped("cluster", "the kubeconfig can't be used, see above"));
    };
    report(match context.node.records.cached_cluster(&server) {
        Some(CachedIdentity::Uid(uid)) => Outcome::ok("cluster", format!("this node knows its cluster: {uid}")),
        Some(CachedIdentity::Failed { at, why }) => Outcome::warning(
            "cluster",
            format!(
                "this node could not read its cluster's identity {} ago, so it confirms no holder gone: {why}",
                time_between(at, Timestamp::now())
            ),
            Remedy::new("grant `get` on the namespace kube-system, or set `cluster` in the node defaults")
                .command(commands.kubectl(&APPLY_RBAC)),
        ),
        None => {
            Outcome::skipped("cluster", "this node has not asked for its cluster's identity yet; the next ADD does")
        }
    });
}
