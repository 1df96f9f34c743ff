//! `kubernetes-…`: the custom resources of a store in the Kubernetes API. Without one, these checks have nothing to
//! report.

use std::rc::Rc;

use jiff::Timestamp;

use super::custom_resources::{self, Inspected};
use super::custom_resources_rights;
use crate::cause::{Cause, chain};
use crate::cluster::ServerVersion;
use crate::ipam::keys;
use crate::ops::operator::STORE_TIMEOUT;
use crate::ops::operator::doctor::cluster::api_server;
use crate::ops::operator::doctor::subject::Subject;
use crate::ops::operator::doctor::{Context, Outcome};
use crate::store::{
    KubernetesConfig, KubernetesInspector, NamespaceState, ServedResources, StoreConfig, StoreResource,
};

/// How many reads are timed.
const READS: usize = 5;

/// The store's resources, as the API server serves them.
pub(in crate::ops::operator::doctor) struct KubernetesSurvey {
    inspector: KubernetesInspector,
    served: Result<ServedResources, Cause>,
}

impl KubernetesSurvey {
    fn read(config: &KubernetesConfig, context: &Context<'_>) -> Result<Self, String> {
        let inspector = KubernetesInspector::new(config).map_err(|cause| chain(&cause).to_string())?;
        let served = inspector.served(context.deadline());
        Ok(Self { inspector, served })
    }
}

/// Runs a check on the survey, which the first check makes.
fn with_survey(
    context: &mut Context<'_>,
    report: &mut dyn FnMut(Outcome),
    check: impl FnOnce(&KubernetesSurvey, &KubernetesConfig, &mut Context<'_>, &mut dyn FnMut(Outcome)),
) {
    let Some(StoreConfig::Kubernetes(config)) = context.store() else { return };
    let survey = match &context.cached.kubernetes {
        Some(survey) => Rc::clone(survey),
        None => {
            let survey = Rc::new(KubernetesSurvey::read(config, context));
            Rc::clone(context.cached.kubernetes.insert(survey))
        }
    };
    match &*survey {
        Ok(survey) => check(survey, config, context, report),
        Err(why) => {
            report(Subject::whole("API server").skipped(format!("its resources could not be inspected: {why}")))
        }
    }
}

/// The same if the API server has answered. If not, every request would wait in vain.
fn with_answer(
    context: &mut Context<'_>,
    report: &mut dyn FnMut(Outcome),
    check: impl FnOnce(&KubernetesSurvey, &KubernetesConfig, &mut Context<'_>, &mut dyn FnMut(Outcome)),
) {
    with_survey(context, report, |survey, config, context, report| match survey.served {
        Ok(_) => check(survey, config, context, report),
        Err(_) => report(Subject::whole("API server").skipped("the API server does not answer")),
    });
}

/// The objects of each resource that the API server serves, read once.
fn inspected(survey: &KubernetesSurvey, context: &mut Context<'_>) -> Rc<Vec<Inspected>> {
    if let Some(objects) = &context.cached.kubernetes_objects {
        return Rc::clone(objects);
    }
    let missing = survey.served.as_ref().map(|served| served.missing.as_slice()).unwrap_or_default();
    let is_served =
        |resource: &StoreResource| !missing.iter().any(|name| name.split('.').next() == Some(resource.plural()));
    let progress = context.progress();
    let mut done = 0;
    let mut objects = Vec::new();
    for resource in KubernetesInspector::resources().filter(is_served) {
        let report = survey.inspector.inspect(resource, STORE_TIMEOUT, &|count| progress(done + count));
        done += report.as_ref().map_or(0, |report| report.objects);
        objects.push(Inspected { resource: resource.plural(), report });
    }
    Rc::clone(context.cached.kubernetes_objects.insert(Rc::new(objects)))
}

pub(in crate::ops::operator::doctor) fn resources(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let next = &context.options.commands;
    with_survey(context, report, |survey, _, _, report| report(custom_resources::served(&survey.served, next)));
}

pub(in crate::ops::operator::doctor) fn namespace(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let next = &context.options.commands;
    with_answer(context, report, |survey, config, context, report| {
        let state = survey.inspector.namespace(context.deadline());
        // Where there is an object, there is a namespace.
        let objects = match state {
            Ok(NamespaceState::Hidden(_)) => custom_resources::count(&inspected(survey, context)),
            _ => 0,
        };
        report(custom_resources::namespace(&config.namespace, &state, objects, next));
    });
}

pub(in crate::ops::operator::doctor) fn rights(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    with_answer(context, report, |_, config, context, report| {
        custom_resources_rights::check(&config.namespace, context, report);
    });
}

pub(in crate::ops::operator::doctor) fn latency(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let next = &context.options.commands;
    with_answer(context, report, |survey, _, context, report| {
        let times = survey.inspector.read_times(&keys::recovery(), READS, context.deadline());
        let timeout = context.node.settings.timeout;
        let url = survey.inspector.url();
        report(custom_resources::latency(url, &times, timeout, context.is_node, next));
    });
}

pub(in crate::ops::operator::doctor) fn objects(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let next = &context.options.commands;
    with_answer(context, report, |survey, config, context, report| {
        let objects = inspected(survey, context);
        custom_resources::objects(&objects, &config.namespace, next).into_iter().for_each(report);
    });
}

pub(in crate::ops::operator::doctor) fn remains(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let next = &context.options.commands;
    with_answer(context, report, |survey, config, context, report| {
        let objects = inspected(survey, context);
        let now = server_time(context);
        report(custom_resources::remains(&objects, &config.namespace, now, next));
    });
}

/// The time of the API server's clock, by which the times of objects are; without it, that of this machine.
fn server_time(context: &mut Context<'_>) -> Timestamp {
    let now = Timestamp::now();
    match api_server::version(context).as_deref() {
        Some(Ok(ServerVersion { clock: Some(clock), received, .. })) => *clock + now.duration_since(*received),
        _ => now,
    }
}
