//! What an interface is to have, range set by range set, and why.
//!
//! ```text
//! the interface's annotations ─┐
//! the runtime's addresses ─────┤  explicit asks, which must agree
//! the claim that it names ─────┤
//! the pod's unscoped ones ─────┤
//!                              ├─►  Ask: one Wish per range set, with its source and its shape  ─►  decide
//! the network's sets ──────────┘
//! ```
//!
//! A set for which nothing is asked gives any free address. What is asked is checked against the set's rules here, before
//! the store is asked for anything, and is met exactly or refused: it never becomes a random address.

mod annotations;
mod claim;
mod given;
mod input;
mod pool;
mod selection;
mod shape;

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use self::annotations::Stranger;
pub use self::annotations::{AnnotationError, Annotations, Key, Note};
use self::given::Given;
pub use self::input::{Inputs, NetworkRanges, RequestSource, RequestedAddresses};
pub use self::pool::Ordinal;
use self::shape::Overrides;
pub use self::shape::Shape;
use super::address::{self, Family, Span, Spans};
use super::claim::ClaimError;
use super::range::{NotAssignable, Range, RangeSet, globs_admit};
use super::refusal::{Refusal, list};

/// Where a wish comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing was asked for.
    Nothing,
    /// The runtime's own request.
    Runtime(RequestSource),
    /// An annotation of the pod.
    Annotation(Key),
    /// The status of an IPAMClaim, which is named.
    Claim(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nobody",
            Self::Runtime(RequestSource::RuntimeConfig) => "runtimeConfig.ips",
            Self::Runtime(RequestSource::ArgsCni) => "args.cni.ips",
            Self::Runtime(RequestSource::CniArgs) => "IP in CNI_ARGS",
            Self::Annotation(key) => return write!(f, "annotation {key}"),
            Self::Claim(claim) => return write!(f, "the status of {claim}"),
        })
    }
}

/// What a range set is to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Any free address.
    Any,
    /// Exactly these, all of them.
    Fixed(Vec<IpAddr>),
    /// Any free one of these.
    Pool(Spans),
}

/// The wish for one range set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The set.
    pub set: RangeSet,
    /// What it is to give.
    pub wish: Wish,
    /// Why.
    pub source: Source,
    /// What the addresses get instead of their subnet's prefix length and gateway.
    pub shape: Shape,
    /// Whether the wish was for one interface of the pod without saying for which: once another one of the same sandbox
    /// has the address, this one gets any.
    pub yields: bool,
    /// Whether its owner was given the address before, maybe at random: then it may have it again, as long as it is the
    /// owner's.
    pub had: bool,
}

/// Settles what an interface is to have of a network, and what its author should know.
pub fn asks(network: NetworkRanges<'_>, inputs: &Inputs<'_>) -> Result<(Vec<Ask>, Vec<Note>), Refusal> {
    let namespace = inputs.namespace;
    let allowed = |globs: &[String]| globs_admit(globs, namespace);
    if !allowed(network.namespaces) {
        return Err(refuse_namespace(namespace, format!("network {}", network.name), network.namespaces.to_vec()));
    }
    let any = |set: &RangeSet| match set.filter(|range| allowed(&range.namespaces)) {
        Some(set) => Ok(Ask {
            set,
            wish: Wish::Any,
            source: Source::Nothing,
            shape: Shape::default(),
            yields: false,
            had: false,
        }),
        None => {
            let globs = set.ranges().iter().flat_map(|range| range.namespaces.clone()).collect();
            Err(refuse_namespace(namespace, set.to_string(), globs))
        }
    };
    let mut asks = network.sets.iter().map(any).collect::<Result<Vec<Ask>, Refusal>>()?;
    let notes = explicit(&mut asks, network, inputs).map_err(|refusal| explained(network, inputs, refusal))?;
    if let Some(version) = inputs.one_per_family {
        one_per_family(&asks, version)?;
    }
    Ok((asks, notes))
}

fn refuse_namespace(namespace: Option<&str>, what: String, allowed: Vec<String>) -> Refusal {
    Refusal::Namespace { namespace: namespace.map(str::to_owned), what, allowed }
}

/// The ranges of a network that hold an address, whoever may draw from them: those of this node first.
fn ranges_with(network: NetworkRanges<'_>, ip: IpAddr) -> impl Iterator<Item = &Range> {
    let here = network.sets.iter().flat_map(RangeSet::ranges);
    here.chain(network.other_nodes).filter(move |range| range.subnet.contains(&ip))
}

/// The refusal of an address in no subnet; where the network has a range for it, with what stands in the way: that range is
/// not for this namespace, or not for this node.
fn explained(network: NetworkRanges<'_>, inputs: &Inputs<'_>, refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::OutsideSubnets { ip, from, subnets } => {
            let of_node = |range: &&Range| globs_admit(&range.nodes, Some(inputs.node.as_str()));
            let Some(range) = ranges_with(network, ip).next() else {
                return Refusal::OutsideSubnets { ip, from, subnets };
            };
            if of_node(&range) {
                return refuse_namespace(inputs.namespace, range.to_string(), range.namespaces.clone());
            }
            let allowed = ranges_with(network, ip).flat_map(|range| range.nodes.clone()).collect();
            Refusal::OtherNodes { ip, from, range: range.subnet, allowed, node: Box::new(inputs.node.clone()) }
        }
        Refusal::Claim(error) => match *error {
            ClaimError::Status { claim, refusal } => {
                ClaimError::Status { claim, refusal: Box::new(explained(network, inputs, *refusal)) }.into()
            }
            other => other.into(),
        },
        other => other,
    }
}

/// Puts the explicit asks in the place of "any".
fn explicit(asks: &mut [Ask], network: NetworkRanges<'_>, inputs: &Inputs<'_>) -> Result<Vec<Note>, Refusal> {
    let mut notes = Vec::new();
    let mut requests = Vec::new();
    if let Some(Annotations { own, .. }) = inputs.annotations {
        if let Some(given) = &own.pool {
            pool::ask(asks, given, inputs.ordinal)?;
        }
        if let Some(given) = &own.ip {
            let source = Source::Annotation(given.key.clone());
            let asked = requests_of(asks, listed(given)?, &source)?;
            agree(asks, &asked, &source)?;
            requests.extend(asked);
        }
    }
    if let Some(requested) = inputs.requested {
        let source = Source::Runtime(requested.source);
        let asked = requests_of(asks, requested.ips.iter().map(String::as_str), &source)?;
        agree(asks, &asked, &source)?;
        requests.extend(asked);
    }
    if let Some(claim) = inputs.claim {
        claim::ask(asks, claim)?;
    }
    if let Some(annotations) = inputs.annotations {
        let mut overrides = vec![Overrides::default(); asks.len()];
        requests.extend(unscoped(asks, network, annotations, &mut overrides, &mut notes)?);
        reshape(asks, annotations, &mut overrides)?;
        asks.iter().zip(&overrides).try_for_each(|(ask, overrides)| shape::fits(ask, overrides))?;
        strangers(asks, annotations, &mut notes)?;
    }
    lengths(asks, &requests)?;
    Ok(notes)
}

/// An address that is asked for.
struct Request {
    ip: IpAddr,
    /// The place of the set that may give it.
    place: usize,
    /// As it was written, where that is with a prefix length.
    with_length: Option<IpNet>,
    from: String,
}

/// The addresses of an annotation, of which there must be one.
fn listed(given: &Given) -> Result<impl Iterator<Item = &str>, AnnotationError> {
    let mut items = given.items().peekable();
    match items.peek() {
        Some(_) => Ok(items),
        None => Err(given.wrong(&given.value, "a list with an address in it")),
    }
}

/// Requested addresses, each with the place of the set that may give it.
fn requests_of<'a>(
    asks: &[Ask],
    texts: impl Iterator<Item = &'a str>,
    source: &Source,
) -> Result<Vec<Request>, Refusal> {
    let request = |text: &str| {
        let from = source.to_string();
        let (ip, with_length) = read(text).map_err(|error| Refusal::NotAnAddress { from: from.clone(), error })?;
        Ok(Request { ip, place: assignable(asks, ip, &from)?, with_length, from })
    };
    texts.map(request).collect()
}

/// A prefix length that is written with an address is that of the subnet, or that of the netmask beside it.
fn lengths(asks: &[Ask], requests: &[Request]) -> Result<(), Refusal> {
    for Request { ip, place, with_length, from } in requests {
        let ask = &asks[*place];
        let Some((asked, range)) = with_length.zip(ask.set.range_of(*ip)) else { continue };
        let length = ask.shape.prefix_in(range);
        if asked.prefix_len() != length {
            let subnet = IpNet::new(*ip, length).map_or(range.subnet, |net| net.trunc());
            return Err(Refusal::OtherPrefix { asked, from: from.clone(), subnet });
        }
    }
    Ok(())
}

/// The place of the set that may give an address.
fn assignable(asks: &[Ask], ip: IpAddr, from: &str) -> Result<usize, Refusal> {
    let holding = || asks.iter().enumerate().filter_map(|(i, ask)| Some((i, ask.set.range_of(ip)?)));
    // Sets may share a subnet; then it is the one that gives the address by itself, at random or from its fixed window.
    let named = |range: &Range| range.window.contains(ip) || range.fixed.is_some_and(|window| window.contains(ip));
    let giving = || holding().filter(|(_, range)| range.assignable(ip).is_ok());
    let best = giving().find(|(_, range)| named(range)).or_else(|| holding().find(|(_, range)| named(range)));
    let Some((place, range)) = best.or_else(|| giving().next()).or_else(|| holding().next()) else {
        let subnets = asks.iter().flat_map(|ask| ask.set.ranges()).map(|range| range.subnet).collect();
        return Err(Refusal::OutsideSubnets { ip, from: from.to_owned(), subnets });
    };
    // A gateway is nobody's, also where another range shares its subnet.
    let mut ranges = asks.iter().flat_map(|ask| ask.set.ranges());
    let gateway = ranges.find(|other| other.gateway == Some(ip)).map(|other| NotAssignable::Gateway(other.subnet));
    match range.assignable(ip).err().or(gateway) {
        Some(why) => Err(Refusal::NotAssignable { ip, from: from.to_owned(), why }),
        None => Ok(place),
    }
}

/// An address, with the prefix length if one is written (CNI conventions, `ips`).
fn read(text: &str) -> Result<(IpAddr, Option<IpNet>), address::SpanError> {
    let text = text.trim();
    if text.contains('/') {
        let net = address::parse_interface(text)?;
        Ok((net.addr(), Some(net)))
    } else {
        Ok((address::parse(text)?, None))
    }
}

/// Adds the addresses that a source asks for, set by set. Of a set for which something else was asked before, this must
/// be the same.
fn agree(asks: &mut [Ask], asked: &[Request], source: &Source) -> Result<(), AnnotationError> {
    for (place, ask) in asks.iter_mut().enumerate() {
        let mut ips: Vec<IpAddr> = Vec::new();
        for request in asked.iter().filter(|request| request.place == place) {
            // An address that is listed twice is asked for once.
            if !ips.contains(&request.ip) {
                ips.push(request.ip);
            }
        }
        if ips.is_empty() {
            continue;
        }
        let same = match &ask.wish {
            Wish::Any => {
                ask.wish = Wish::Fixed(ips);
                ask.source = source.clone();
                continue;
            }
            Wish::Fixed(before) => before.len() == ips.len() && before.iter().all(|ip| ips.contains(ip)),
            Wish::Pool(_) => false,
        };
        if !same {
            return Err(AnnotationError::Disagree {
                set: ask.set.to_string(),
                first: ask.source.to_string(),
                first_ips: wished(&ask.wish),
                second: source.to_string(),
                second_ips: list(&ips),
            });
        }
    }
    Ok(())
}

fn wished(wish: &Wish) -> String {
    match wish {
        Wish::Any => "any address".to_owned(),
        Wish::Fixed(ips) => list(ips),
        Wish::Pool(spans) => format!("one of {spans}"),
    }
}

/// The unscoped annotations: for those sets of which they name an address.
fn unscoped<'a>(
    asks: &mut [Ask],
    network: NetworkRanges<'_>,
    annotations: &'a Annotations,
    overrides: &mut [Overrides<'a>],
    notes: &mut Vec<Note>,
) -> Result<Vec<Request>, Refusal> {
    let Annotations { unscoped, interfaces, ifname, .. } = annotations;
    let Some(given) = &unscoped.ip else {
        let alone = [&unscoped.netmask, &unscoped.gateway].into_iter().flatten();
        notes.extend(alone.map(|given| Note::WithoutAddress(given.key.clone())));
        return Ok(Vec::new());
    };
    let source = Source::Annotation(given.key.clone());
    let mut here = Vec::new();
    for text in listed(given)? {
        let (ip, _) = read(text).map_err(|error| Refusal::NotAnAddress { from: source.to_string(), error })?;
        // A range of this network that is not for this pod is no other network: there the address is refused.
        let belongs_here = ranges_with(network, ip).next().is_some();
        if belongs_here || interfaces.are_only(ifname) {
            here.push(text);
        } else {
            notes.push(Note::Elsewhere { ip });
        }
    }
    let asked = requests_of(asks, here.into_iter(), &source)?;
    agree(asks, &asked, &source)?;
    for ask in asks.iter_mut() {
        ask.yields = ask.source == source;
    }
    let places: Vec<usize> = asked.iter().map(|request| request.place).collect();
    if !places.is_empty() {
        shape::reshape(asks, overrides, unscoped, &places)?;
    }
    Ok(asked)
}

/// The interface's own netmask and gateway: for what its own annotation asks for, or else for whatever it gets.
fn reshape<'a>(
    asks: &mut [Ask],
    Annotations { own, .. }: &'a Annotations,
    overrides: &mut [Overrides<'a>],
) -> Result<(), AnnotationError> {
    let key = own.ip.as_ref().or(own.pool.as_ref()).map(|given| Source::Annotation(given.key.clone()));
    let is_for = |ask: &Ask| key.as_ref().is_none_or(|key| ask.source == *key);
    let places: Vec<usize> = asks.iter().enumerate().filter(|(_, ask)| is_for(ask)).map(|(i, _)| i).collect();
    shape::reshape(asks, overrides, own, &places)
}

/// Annotations for interfaces that the pod does not have: an error if one was probably meant for this interface, which
/// would get a random address instead.
fn strangers(asks: &[Ask], annotations: &Annotations, notes: &mut Vec<Note>) -> Result<(), AnnotationError> {
    let Annotations { ifname, interfaces, strangers, unknown, .. } = annotations;
    let asks_for_nothing = asks.iter().all(|ask| ask.wish == Wish::Any);
    let fits_here = |stranger: &Stranger| {
        let span = |item: &str| read(item).map(|(ip, _)| ip).or_else(|_| item.parse().map(|span: Span| span.first()));
        let mut ips = stranger.value.split(',').filter_map(|item| span(item.trim()).ok());
        let names_addresses = matches!(stranger.field.as_str(), "ip" | "pool");
        names_addresses && ips.any(|ip| asks.iter().any(|ask| ask.set.range_of(ip).is_some()))
    };
    for stranger in strangers.iter().filter(|stranger| interfaces.lack(&stranger.ifname)) {
        let (key, interfaces) = (stranger.key.clone(), interfaces.to_string());
        if asks_for_nothing && fits_here(stranger) {
            return Err(AnnotationError::NoSuchInterface { key, ifname: ifname.clone(), interfaces });
        }
        notes.push(Note::NoSuchInterface { key, interfaces });
    }
    notes.extend(unknown.iter().cloned().map(Note::Unknown));
    Ok(())
}

/// Results below 0.3.0 hold one address of each family, so more would be held and never shown.
fn one_per_family(asks: &[Ask], version: &str) -> Result<(), Refusal> {
    let addresses = |ask: &Ask| match &ask.wish {
        Wish::Any | Wish::Pool(_) => 1,
        Wish::Fixed(ips) => ips.len(),
    };
    for family in [Family::V4, Family::V6] {
        let count = asks.iter().filter(|ask| ask.set.family() == family).map(addresses).sum();
        if count > 1 {
            return Err(Refusal::OneAddressPerFamily { version: version.to_owned(), family, count });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
