//! The addresses that an IPAMClaim has: of each range set the one that is given again.

use std::net::IpAddr;

use super::annotations::AnnotationError;
use super::{Ask, Source, Wish, assignable, read, wished};
use crate::ipam::claim::{Claim, ClaimError};
use crate::ipam::range::NotAssignable;
use crate::ipam::refusal::Refusal;

/// Puts the addresses in a claim's status in the place of "any", set by set. Where something else was asked for, that must
/// be the same, or a pool with the address in it.
pub(super) fn ask(asks: &mut [Ask], claim: &Claim) -> Result<(), Refusal> {
    let source = Source::Claim(claim.to_string());
    let unfit = |refusal| ClaimError::Status { claim: claim.to_string(), refusal: Box::new(refusal) };
    let mut had: Vec<Option<IpAddr>> = vec![None; asks.len()];
    for text in claim.status.ips.iter().flatten() {
        let from = source.to_string();
        // Its prefix length was that of the subnet then; what the subnet has now is what the interface gets.
        let (ip, _) = read(text).map_err(|error| unfit(Refusal::NotAnAddress { from: from.clone(), error }))?;
        let place = place(asks, ip, &from).map_err(unfit)?;
        match had[place].replace(ip) {
            Some(other) if other != ip => {
                let set = asks[place].set.to_string();
                return Err(ClaimError::Several { claim: claim.to_string(), set, ips: [other, ip] }.into());
            }
            _ => agree(&mut asks[place], ip, &source)?,
        }
    }
    Ok(())
}

/// The place of the set that may give an address: on request, or, as it may have given this one, at random.
fn place(asks: &[Ask], ip: IpAddr, from: &str) -> Result<usize, Refusal> {
    match assignable(asks, ip, from) {
        Err(refusal @ Refusal::NotAssignable { why: NotAssignable::OutsideFixedWindow(_), .. }) => {
            let at_random = |ask: &Ask| ask.set.ranges().iter().any(|range| range.dynamic().contains(ip));
            asks.iter().position(at_random).ok_or(refusal)
        }
        place => place,
    }
}

fn agree(ask: &mut Ask, ip: IpAddr, source: &Source) -> Result<(), AnnotationError> {
    let agrees = match &ask.wish {
        Wish::Any => true,
        Wish::Fixed(ips) => *ips == [ip],
        Wish::Pool(spans) => spans.contains(ip),
    };
    if !agrees {
        return Err(AnnotationError::Disagree {
            set: ask.set.to_string(),
            first: ask.source.to_string(),
            first_ips: wished(&ask.wish),
            second: source.to_string(),
            second_ips: ip.to_string(),
        });
    }
    if !matches!(ask.wish, Wish::Fixed(_)) {
        (ask.wish, ask.source, ask.had) = (Wish::Fixed(vec![ip]), source.clone(), true);
    }
    Ok(())
}
