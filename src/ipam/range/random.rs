//! Why an address is not assigned at random.

use std::net::IpAddr;

use super::{LINK_LOCAL, NotAssignable, Range, spans_of};
use crate::ipam::address::Span;
use crate::ipam::pool::PoolName;

/// Why an address can't be assigned at random.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRandom {
    /// No interface gets it, on request or at random.
    #[error(transparent)]
    Never(NotAssignable),
    /// It is in the window of fixed addresses.
    #[error("it is in the window for fixed addresses, {0} (fixedStart, fixedEnd)")]
    InFixedWindow(Span),
    /// It is in a named pool.
    #[error("it is in pool {0}, which pods request by name")]
    InPool(PoolName),
    /// It is outside the window of random addresses.
    #[error("it is outside the window for random addresses, {0} (rangeStart, rangeEnd)")]
    OutsideWindow(Span),
    /// It is link-local in a subnet that is not.
    #[error("it is {0}, and the subnet is not")]
    LinkLocal(&'static str),
}

impl Range {
    /// Checks that an address may be assigned at random: that [`Range::dynamic`] has it.
    pub fn random(&self, ip: IpAddr) -> Result<(), NotRandom> {
        match self.assignable(ip) {
            Ok(()) | Err(NotAssignable::OutsideFixedWindow(_)) => {}
            Err(never) => return Err(NotRandom::Never(never)),
        }
        if let Some(pool) = self.pool_of(ip) {
            return Err(NotRandom::InPool(pool.name.clone()));
        }
        if let Some(window) = self.fixed.filter(|window| window.contains(ip)) {
            return Err(NotRandom::InFixedWindow(window));
        }
        if !self.window.contains(ip) {
            return Err(NotRandom::OutsideWindow(self.window));
        }
        let whole = Span::of_net(self.subnet);
        let link_local = spans_of(&LINK_LOCAL).find(|(span, _)| span.contains(ip) && !span.covers(&whole));
        link_local.map_or(Ok(()), |(_, what)| Err(NotRandom::LinkLocal(what)))
    }
}
