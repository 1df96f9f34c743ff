//! The routes and DNS settings of a result.

use std::net::IpAddr;
use std::path::Path;

use super::Network;
use super::defaults::read_bounded;
use super::diagnostics::Diagnostics;
use super::document::{DnsBlock, IpamBlock, RouteBlock};
use super::keys;
use super::problem::Problem;
use super::read::{Destination, Field, List};
use crate::cause::Cause;
use crate::cni::{Dns, Route};
use crate::ipam::address::Family;
use crate::ipam::lease::Assigned;

impl Network {
    /// The routes and DNS settings for an interface with these addresses. If the pod has left out a family of the
    /// network, they leave it out too. Otherwise, the main plugin would install routes on an interface without an
    /// address for them.
    pub fn routes_and_dns(&self, addresses: &[Assigned]) -> (Vec<Route>, Dns) {
        let has = |family| addresses.iter().any(|assigned| Family::of(assigned.address.addr()) == family);
        let is_left_out = |family| !has(family) && self.sets.iter().any(|set| set.family() == family);
        let routes = self.routes.iter().filter(|route| !is_left_out(Family::of(route.dst.addr())));
        // A zone (`fe80::1%eth0`) is not part of the address. A name server that is not an address has no family, and
        // stays.
        let address = |server: &str| server.split('%').next()?.parse::<IpAddr>().ok();
        let mut dns = self.dns.clone();
        dns.nameservers.retain(|server| !address(server).is_some_and(|ip| is_left_out(Family::of(ip))));
        (routes.cloned().collect(), dns)
    }
}

/// The routes, as written.
pub(super) fn routes(block: &IpamBlock, diagnostics: &mut Diagnostics) -> Vec<Route> {
    let Some(list) = block.routes.get() else { return Vec::new() };
    list.valid().filter_map(|written| route(written, diagnostics)).collect()
}

fn route(written: &RouteBlock, diagnostics: &mut Diagnostics) -> Option<Route> {
    if written.dst.is_absent() {
        diagnostics.mistake(keys::below(&written.at, "dst"), Problem::NoDestination);
    }
    if let Some((at, &Destination(dst))) = written.dst.located() {
        if dst != dst.trunc() {
            diagnostics.mistake(at, Problem::HostBits { found: dst, network: dst.trunc() });
        }
        if let Some((at, &gw)) = written.gw.located().filter(|(_, gw)| Family::of(**gw) != Family::of(dst.addr())) {
            diagnostics.mistake(at, Problem::RouteFamily { gw, dst });
        }
    }
    Some(Route {
        dst: written.dst.get()?.0,
        gw: written.gw.get().copied(),
        mtu: written.mtu.get().copied(),
        advmss: written.advmss.get().copied(),
        priority: written.priority.get().copied(),
        table: written.table.get().copied(),
        scope: written.scope.get().copied(),
    })
}

/// The DNS settings: `dns`, else the content of `resolvConf`.
pub(super) fn dns(block: &IpamBlock, diagnostics: &mut Diagnostics) -> Dns {
    if let Some(dns) = block.dns.get() {
        return from_block(dns);
    }
    let Some((at, path)) = block.resolv_conf.located() else { return Dns::default() };
    diagnostics.ok_or_note(at, resolv_conf(path)).unwrap_or_default()
}

fn from_block(block: &DnsBlock) -> Dns {
    let texts = |list: &Field<List<String>>| list.get().map(|l| l.valid().cloned().collect()).unwrap_or_default();
    Dns {
        nameservers: block.nameservers.get().map(|l| l.valid().map(ToString::to_string).collect()).unwrap_or_default(),
        domain: block.domain.get().cloned(),
        search: texts(&block.search),
        options: texts(&block.options),
    }
}

/// Parses resolv.conf(5): one word after `nameserver` and `domain`, all words after `search` and `options`.
fn resolv_conf(path: &Path) -> Result<Dns, Problem> {
    let unreadable = |cause| Problem::Unreadable { path: path.to_path_buf(), cause };
    let bytes = read_bounded(path).map_err(|e| unreadable(Cause::new(e)))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable(Cause::new("it is not text")))?;
    let mut dns = Dns::default();
    for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace();
        let (keyword, mut values) = (words.next(), words.map(str::to_owned));
        match keyword {
            Some("nameserver") => dns.nameservers.extend(values.next()),
            Some("domain") => dns.domain = values.next().or(dns.domain),
            Some("search") => dns.search.extend(values),
            Some("options") => dns.options.extend(values),
            _ => {}
        }
    }
    Ok(dns)
}
