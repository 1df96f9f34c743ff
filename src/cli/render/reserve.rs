//! What a reservation by hand is about to do, as sentences.

use super::batches::{MAX_NAMED, count};
use super::release::describe;
use crate::cli::CliError;
use crate::cli::output::Output;
use crate::ipam::address::Span;
use crate::ipam::lease::Beneficiary;
use crate::ops::operator::reserve::{AddressFinding, Existence, ReserveSurvey, SurveyedAddress};

/// What a verb says that changes nothing because nobody confirmed it.
pub(crate) const UNCONFIRMED: &str = "nothing was reserved; to reserve them, run this again with --yes";

/// Prints what was found of the addresses, and what is to be noted.
pub(crate) fn survey(output: &mut Output, span: &Span, survey: &ReserveSurvey) -> Result<(), CliError> {
    let addresses = &survey.addresses;
    let number = |is: &dyn Fn(&AddressFinding) -> bool| addresses.iter().filter(|it| is(&it.finding)).count();
    let counts = [
        (number(&|it| matches!(it, AddressFinding::Free)), "free"),
        (number(&|it| matches!(it, AddressFinding::Resting)), "in cooldown, which ends"),
        (number(&|it| matches!(it, AddressFinding::Over)), "no longer reserved or foreign"),
        (number(&|it| matches!(it, AddressFinding::Already)), "reserved by hand for this reason already"),
        (number(&AddressFinding::is_obstacle), "not to be had"),
    ];
    let counts: Vec<String> =
        counts.into_iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    output.line(&format!("{} in {span}: {}.", count(addresses.len()), counts.join(", ")))?;
    let obstacles: Vec<&SurveyedAddress> = addresses.iter().filter(|it| it.finding.is_obstacle()).collect();
    for address in obstacles.iter().take(MAX_NAMED) {
        output.line(&format!("  {}", obstacle(address)))?;
    }
    if obstacles.len() > MAX_NAMED {
        output.line(&format!("  and {} more", obstacles.len() - MAX_NAMED))?;
    }
    let outside = addresses.iter().filter(|it| it.finding.is_available() && !it.is_in_network).count();
    if outside > 0 {
        output.line(&format!("No known network has {} of them in a subnet.", outside))?;
    }
    about_existence(output, survey.manual().beneficiary.as_ref(), survey.existence.as_ref())
}

/// Why an address can't be reserved, as a sentence.
pub(super) fn obstacle(address: &SurveyedAddress) -> String {
    let ip = address.ip;
    match &address.finding {
        AddressFinding::Taken(lease) => describe(ip, lease),
        AddressFinding::NotAssignable(why) => format!("{ip} is for no pod: {why}."),
        AddressFinding::Already => format!("{ip} is reserved by hand already."),
        AddressFinding::Free | AddressFinding::Resting | AddressFinding::Over => format!("{ip} is free."),
    }
}

/// The refusal, if an address can't be reserved.
pub(crate) fn obstacles(survey: &ReserveSurvey) -> Option<String> {
    let obstacles = survey.addresses.iter().filter(|it| it.finding.is_obstacle()).count();
    let available = survey.count_available();
    match (obstacles, available) {
        (0, _) => None,
        (_, 0) => Some("nothing was reserved; release the address first, or choose another one".to_owned()),
        (obstacles, available) => Some(format!(
            "nothing was reserved, because {obstacles} of them can't be; to reserve the other {available}, run this again \
             with --free-only"
        )),
    }
}

/// The question before the addresses are reserved.
pub(crate) fn question(survey: &ReserveSurvey) -> String {
    format!("reserve {}?", count(survey.count_available()))
}

/// Prints a note about the object for which an address is reserved, if there is something to note.
pub(super) fn about_existence(
    output: &mut Output,
    beneficiary: Option<&Beneficiary>,
    existence: Option<&Existence>,
) -> Result<(), CliError> {
    let Some((beneficiary, existence)) = beneficiary.zip(existence) else { return Ok(()) };
    match existence {
        Existence::Exists | Existence::NotAsked => Ok(()),
        Existence::Missing => output.line(&format!("{beneficiary} does not exist yet. The reservation waits for it.")),
        Existence::Unknown(why) => output.line(&format!("Whether {beneficiary} exists is not known: {why}.")),
    }
}
