//! `etcd-…`: each member of etcd by itself. Without etcd, these checks have nothing to report.

use std::rc::Rc;
use std::time::Duration;

use super::members::{self, Member};
use super::security;
use crate::cause::chain;
use crate::ipam::keys;
use crate::ops::operator::doctor::subject::Subject;
use crate::ops::operator::doctor::{Context, Outcome};
use crate::store::{EtcdConfig, EtcdInspector, StoreConfig};

/// How many reads of a member are timed.
const READS: usize = 5;

/// The members of etcd, as they were found.
pub(in crate::ops::operator::doctor) struct EtcdSurvey {
    inspector: EtcdInspector,
    members: Vec<Member>,
}

impl EtcdSurvey {
    fn read(config: &EtcdConfig, context: &Context<'_>) -> Result<Self, String> {
        let inspector = EtcdInspector::new(config.clone()).map_err(|e| e.to_string())?;
        let urls = inspector.urls().map_err(|e| chain(&e).to_string())?;
        let total = Some(urls.len() as u64);
        let mut members = Vec::with_capacity(urls.len());
        for url in urls {
            context.at_work(members.len() as u64, total);
            let status = inspector.status(&url, context.deadline());
            let serves = status.as_ref().is_ok_and(|status| !status.is_learner && status.leader != 0);
            let reads = serves.then(|| inspector.read_times(&url, &keys::recovery(), READS, context.deadline()));
            members.push(Member { url, status, reads });
        }
        Ok(Self { inspector, members })
    }

    /// A member that serves reads, with its revision.
    fn good_member(&self) -> Option<(&str, u64)> {
        let serves = |member: &&Member| matches!(member.reads, Some(Ok(_)));
        let member = self.members.iter().find(serves)?;
        Some((member.url.as_str(), member.status.as_ref().ok()?.revision))
    }
}

/// Runs a check on the survey, which the first check makes.
fn with_survey(
    context: &mut Context<'_>,
    report: &mut dyn FnMut(Outcome),
    check: impl FnOnce(&EtcdSurvey, &Context<'_>, &mut dyn FnMut(Outcome)),
) {
    let Some(StoreConfig::Etcd(config)) = context.store() else { return };
    let survey = match &context.cached.etcd {
        Some(survey) => Rc::clone(survey),
        None => {
            let survey = Rc::new(EtcdSurvey::read(config, context));
            Rc::clone(context.cached.etcd.insert(survey))
        }
    };
    match &*survey {
        Ok(survey) => check(survey, context, report),
        Err(why) => report(Subject::whole("etcd").skipped(format!("the members could not be inspected: {why}"))),
    }
}

/// Skips a check if no member serves reads, which the check of the members reports.
fn with_good_member(survey: &EtcdSurvey, report: &mut dyn FnMut(Outcome), check: impl FnOnce(&str, u64) -> Outcome) {
    report(match survey.good_member() {
        Some((url, revision)) => check(url, revision),
        None => Subject::whole("etcd").skipped("no member serves a read"),
    });
}

pub(in crate::ops::operator::doctor) fn members(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    with_survey(context, report, |survey, _, report| {
        members::reached(survey.inspector.config(), &survey.members).into_iter().for_each(report);
    });
}

pub(in crate::ops::operator::doctor) fn alarms(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    with_survey(context, report, |survey, _, report| {
        report(members::alarms(survey.inspector.config(), &survey.members));
    });
}

pub(in crate::ops::operator::doctor) fn space(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    with_survey(context, report, |survey, _, report| {
        members::space(survey.inspector.config(), &survey.members).into_iter().for_each(report);
    });
}

pub(in crate::ops::operator::doctor) fn latency(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    with_survey(context, report, |survey, context, report| {
        let timeout: Duration = context.node.settings.timeout;
        let is_node = context.is_node;
        members::latency(survey.inspector.config(), &survey.members, timeout, is_node).into_iter().for_each(report);
    });
}

pub(in crate::ops::operator::doctor) fn versions(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    with_survey(context, report, |survey, _, report| {
        members::versions(&survey.members).into_iter().for_each(report);
    });
}

pub(in crate::ops::operator::doctor) fn compaction(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    with_survey(context, report, |survey, context, report| {
        with_good_member(survey, report, |url, current| {
            let oldest = survey.inspector.oldest_revision(url, &keys::recovery(), current, context.deadline());
            members::compaction(survey.inspector.config(), url, oldest, current)
        });
    });
}

pub(in crate::ops::operator::doctor) fn rights(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    with_survey(context, report, |survey, context, report| {
        with_good_member(survey, report, |url, _| {
            let found = survey.inspector.rights(url, context.deadline());
            security::rights(survey.inspector.config(), url, survey.inspector.prefix(), &found)
        });
    });
}

pub(in crate::ops::operator::doctor) fn transport(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    if let Some(StoreConfig::Etcd(config)) = context.store() {
        report(security::transport(&config.urls));
    }
}

pub(in crate::ops::operator::doctor) fn certificates(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    with_survey(context, report, |survey, context, report| {
        let now = jiff::Timestamp::now();
        for Member { url, .. } in &survey.members {
            if let Some(found) = survey.inspector.server_certificate(url, context.deadline()) {
                report(security::certificate(url, &found, now));
            }
        }
    });
}
