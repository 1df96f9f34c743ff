//! `networks`: what an ADD would say to each NetworkAttachmentDefinition, and to all of them together.

use super::definitions::{Definitions, read};
use crate::explain::Commands;
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::{Context, Outcome, Status};
use crate::plan::{Finding, Severity};

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let subject = Subject::whole("networks");
    match &*read(context) {
        Definitions::NoCluster => {}
        Definitions::NoSuchKind => {
            report(
                subject
                    .skipped("the cluster has no NetworkAttachmentDefinitions, so only the nodes' files name networks"),
            );
        }
        Definitions::Unread(outcome) => report((**outcome).clone()),
        Definitions::Judged(judged) => {
            let mut is_ok = true;
            for (namespace, name, finding) in judged.findings() {
                is_ok = false;
                report(outcome(namespace, name, finding, &context.options.commands));
            }
            if is_ok {
                report(subject.ok(format!("an ADD would accept all definitions of kube-ipam ({})", judged.count())));
            }
        }
    }
}

fn outcome(namespace: &str, name: &str, finding: &Finding, next: &Commands) -> Outcome {
    let subject = Subject::new(format!("network {namespace}/{name}"));
    let status = match finding.severity {
        Severity::Error => Status::Error,
        Severity::Warning => Status::Warning,
    };
    let help = finding.help.clone().unwrap_or_else(|| "correct the definition".to_owned());
    let text = format!("{help}; docs/reference-errors.md explains {}", finding.code);
    let edit = next.kubectl(&["-n", namespace, "edit", "network-attachment-definitions", name]);
    subject.fault(status, finding.message.clone(), commands(text, [edit]))
}
