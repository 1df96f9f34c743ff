//! What to say of objects that this kubeconfig may not read. The one of a node may read little, by intention.

use crate::cause::chain;
use crate::cluster::ClusterError;
use crate::explain::Commands;
use crate::ops::operator::doctor::Outcome;
use crate::ops::operator::doctor::subject::{Subject, commands};

/// The outcome of a check whose objects could not be read.
pub(in crate::ops::operator::doctor) fn unread(subject: &Subject, error: &ClusterError, next: &Commands) -> Outcome {
    match error {
        ClusterError::Forbidden { .. } => subject.skipped_until(
            format!("this kubeconfig may not read that, and the one of a node need not: {}", chain(error)),
            commands("name a kubeconfig that may", [next.doctor_as_admin()]),
        ),
        error => subject.skipped(format!("it could not be read: {}", chain(error))),
    }
}
