//! Requests the addresses of an IPAMClaim's status, one from each range set.

use std::net::IpAddr;

use super::annotation_error::AnnotationError;
use super::explicit::{not_an_address, read, set_of};
use super::input::Inputs;
use super::{AddressRequest, Selection, Source};
use crate::ipam::claim::{Claim, ClaimError};
use crate::ipam::range::NotAssignable;
use crate::ipam::refusal::Refusal;

/// Requests the addresses in a claim's status. If a set already has a request, it must be for the same address, or for
/// a pool that has it.
pub(super) fn apply(requests: &mut [AddressRequest], claim: &Claim, inputs: &Inputs<'_>) -> Result<(), Refusal> {
    let source = Source::Claim(claim.to_string());
    let unfit = |refusal| ClaimError::Status { claim: claim.to_string(), refusal: Box::new(refusal) };
    let mut assigned: Vec<Option<IpAddr>> = vec![None; requests.len()];
    for text in claim.status.ips.iter().flatten() {
        // The prefix length in the status may be outdated. The interface gets that of the subnet.
        let (ip, _) = read(text).map_err(|error| unfit(not_an_address(&source, text, error)))?;
        let set = set_that_gave(requests, ip, &source, inputs).map_err(unfit)?;
        match assigned[set].replace(ip) {
            Some(other) if other != ip => {
                let set = requests[set].set.to_string();
                return Err(ClaimError::Several { claim: claim.to_string(), set, ips: [other, ip] }.into());
            }
            _ => agree(&mut requests[set], ip, &source)?,
        }
    }
    Ok(())
}

/// The index of the set that may assign an address on request, or may have assigned it at random.
fn set_that_gave(
    requests: &[AddressRequest],
    ip: IpAddr,
    from: &Source,
    inputs: &Inputs<'_>,
) -> Result<usize, Refusal> {
    match set_of(requests, ip, from, inputs) {
        Err(refusal @ Refusal::NotAssignable { why: NotAssignable::OutsideFixedWindow(_), .. }) => {
            let at_random =
                |request: &AddressRequest| request.set.ranges().iter().any(|range| range.dynamic().contains(ip));
            requests.iter().position(at_random).ok_or(refusal)
        }
        set => set,
    }
}

fn agree(request: &mut AddressRequest, ip: IpAddr, source: &Source) -> Result<(), AnnotationError> {
    let agrees = match &request.selection {
        Selection::Auto => true,
        Selection::Exact(ips) => *ips == [ip],
        Selection::OneOf(pool) => pool.addresses.contains(ip),
    };
    if !agrees {
        return Err(AnnotationError::Disagree {
            set: request.set.to_string(),
            first: Box::new(request.source.clone()),
            first_ips: request.selection.to_string(),
            second: Box::new(source.clone()),
            second_ips: ip.to_string(),
        });
    }
    if !matches!(request.selection, Selection::Exact(_)) {
        (request.selection, request.source, request.previously_assigned) =
            (Selection::Exact(vec![ip]), source.clone(), true);
    }
    Ok(())
}
