//! What a move of a reservation by hand is about to do, and has done, as sentences.

use std::net::IpAddr;

use super::release::describe;
use super::reserve::{about_existence, obstacle as destination};
use crate::cli::CliError;
use crate::cli::output::Output;
use crate::ipam::decide::Edited;
use crate::ipam::lease::ManualReservation;
use crate::ops::operator::move_reservation::{MoveObstacle, MoveSurvey};

/// What the verb says that changes nothing because nobody confirmed it.
pub(crate) const UNCONFIRMED: &str = "nothing was moved; to move it, run this again with --yes";

/// Prints the reservation, and what is to be noted.
pub(crate) fn survey(output: &mut Output, survey: &MoveSurvey) -> Result<(), CliError> {
    output.line(&format!("{} is {}.", survey.ip, survey.before))?;
    if let Some(holder) = survey.holder() {
        output.line(&format!("It is held by {holder}, and stays so until that ends."))?;
    }
    if survey.to.as_ref().is_some_and(|to| !to.is_in_network) {
        output.line("No known network has the other address in a subnet.")?;
    }
    about_existence(output, survey.after.beneficiary.as_ref(), survey.existence.as_ref())
}

/// The question before the reservation is moved.
pub(crate) fn question(survey: &MoveSurvey) -> String {
    match (&survey.to, &survey.after.beneficiary) {
        (Some(to), _) => format!("move the reservation to {}?", to.ip),
        (None, Some(beneficiary)) => format!("give the reservation to {beneficiary}?"),
        (None, None) => "move the reservation?".to_owned(),
    }
}

/// Why the reservation can't be moved.
pub(crate) fn obstacle(ip: IpAddr, obstacle: &MoveObstacle) -> String {
    match obstacle {
        MoveObstacle::NotReserved(None) => {
            format!("{ip} is free, not reserved by hand; to reserve it, use `kube-ipam reserve`")
        }
        MoveObstacle::NotReserved(Some(lease)) => format!("{ip} is not reserved by hand: {}", describe(ip, lease)),
        MoveObstacle::Held(lease) => {
            let holder = lease.holders.first().map(ToString::to_string).unwrap_or_default();
            format!("{ip} is held by {holder}; its reservation can go to another address once that pod has ended")
        }
        MoveObstacle::Destination(address) => format!("nothing was moved: {}", destination(address)),
    }
}

/// Says what was done. Fails if nothing was.
pub(crate) fn end(
    output: &mut Output,
    (ip, to): (IpAddr, Option<IpAddr>),
    after: &ManualReservation,
    edited: &Edited,
) -> Result<(), CliError> {
    match (edited, to) {
        (Edited::Written, Some(to)) => output.line(&format!("{ip} is free now, and {to} is {after}.")),
        (Edited::Written, None) => output.line(&format!("{ip} is {after}.")),
        (Edited::Stale { in_doubt, .. }, _) => {
            let doubt = if *in_doubt { "; an attempt without an answer may still take effect" } else { "" };
            Err(CliError::Refused(format!(
                "nothing was moved, because an address changed since it was shown{doubt}; run the same command again"
            )))
        }
    }
}
