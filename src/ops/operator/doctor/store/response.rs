//! `store-response`: whether the configured store answers a read, as every ADD needs it.

use std::path::Path;

use crate::ops::operator::doctor::{Context, Outcome, Remedy};
use crate::store::StoreConfig;

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let Ok(store) = &context.node.settings.store else {
        return report(Outcome::skipped(
            "store",
            "the store is not known, because its configuration is wrong, see above",
        ));
    };
    let object = store.to_string();
    // Opening an embedded store would create it.
    if let StoreConfig::Embedded { data_dir } = store
        && !data_dir.is_dir()
    {
        return report(not_created(context, object, data_dir));
    }
    let deadline = context.deadline();
    let answer = context.session().and_then(|session| session.ping(deadline));
    // The other checks of a silent store would wait as long.
    context.cached.store_answers = Some(answer.is_ok());
    report(match answer {
        Ok(()) => Outcome::ok(&object, format!("{object} answers")),
        Err(error) => Outcome::error(&object, error.message().to_string(), remedy(context)),
    });
}

/// Without node defaults and options, a store on this machine is the default, whoever runs this.
fn not_created(context: &Context<'_>, object: String, folder: &Path) -> Outcome {
    match context.is_node {
        true => {
            let message = format!("there is no store in {} yet; the first ADD creates it", folder.display());
            Outcome::skipped(object, message)
        }
        false => {
            let message = format!("there is no store in {}, and this machine is no node", folder.display());
            let text = "name the store of the cluster by --store, as in the nodes' defaults";
            Outcome { remedy: Some(Remedy::new(text)), ..Outcome::skipped(object, message) }
        }
    }
}

fn remedy(context: &Context<'_>) -> Remedy {
    match &context.node.settings.store {
        Ok(StoreConfig::Etcd(_)) => Remedy::new(
            "make etcd reachable from here; on a node that can't reach it, ADDs fail with code 11 and DELs defer their releases",
        ),
        Ok(StoreConfig::Kubernetes(config)) => Remedy::new(
            "make the API server reachable from here, apply examples/install/resources.yaml if it lacks these resources, and grant the kubeconfig's user their verbs; until then, ADDs fail with code 11 and DELs defer their releases",
        )
        .command(context.options.commands.kubectl(&["auth", "can-i", "--list", "-n", &config.namespace])),
        _ => Remedy::new("make the folder readable and writable for root, and look whether its disk is full"),
    }
}
