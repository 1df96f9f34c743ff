//! The options about ranges. Each address belongs to the subnet that contains it.

use std::net::IpAddr;

use clap::Args;
use ipnet::IpNet;

use crate::ipam::address::{Family, Span};
use crate::ops::operator::config::{RangeOptions, RangesOptions};

/// Which addresses the network has.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Ranges")]
pub(super) struct RangeArgs {
    /// A subnet of the network; may be repeated, for both families or for more ranges
    ///
    /// An interface gets one address of each family. Subnets of one family are tried in their order. Without this option,
    /// the subnet and all else about ranges is an example's.
    #[arg(long = "subnet", value_name = "CIDR")]
    subnets: Vec<IpNet>,
    /// The first random address of the subnet that contains it; may be repeated, as the next ones
    #[arg(long = "range-start", value_name = "IP", requires = "subnets")]
    range_starts: Vec<IpAddr>,
    /// The last random address of the subnet that contains it
    #[arg(long = "range-end", value_name = "IP", requires = "subnets")]
    range_ends: Vec<IpAddr>,
    /// The first and last random address of the subnet that contains them
    #[arg(long = "range", value_name = "FROM-TO", requires = "subnets")]
    ranges: Vec<Span>,
    /// The first address that pods can request of the subnet that contains it
    ///
    /// With --fixed-end, this is the window for fixed addresses, from which no random address comes. Without a window, all
    /// usable addresses can be requested.
    #[arg(long = "fixed-start", value_name = "IP", requires = "subnets")]
    fixed_starts: Vec<IpAddr>,
    /// The last address that pods can request of the subnet that contains it
    #[arg(long = "fixed-end", value_name = "IP", requires = "subnets")]
    fixed_ends: Vec<IpAddr>,
    /// The gateway of the subnet that contains it, or of the only subnet of its family
    ///
    /// Without this option, it is the first usable address of the subnet.
    #[arg(long = "gateway", value_name = "IP", requires = "subnets")]
    gateways: Vec<IpAddr>,
    /// Addresses that are never assigned: an address, a network or FROM-TO; may be repeated
    #[arg(long, value_name = "ADDRESSES")]
    exclude: Vec<Span>,
    /// The destination of a route through the gateway; may be repeated
    #[arg(long = "route", value_name = "CIDR")]
    routes: Vec<IpNet>,
}

/// Why the options about ranges do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeArgsError {
    /// An address is in no subnet.
    #[error("{option} {ip} is in no --subnet")]
    Outside {
        /// The option.
        option: &'static str,
        /// Its address.
        ip: IpAddr,
    },
    /// Two addresses are for one key of one subnet.
    #[error("{option} is given twice for {subnet}")]
    Repeated {
        /// The option.
        option: &'static str,
        /// The subnet.
        subnet: IpNet,
    },
}

/// The key of a range that an option sets.
type Key = fn(&mut RangeOptions) -> &mut Option<IpAddr>;

impl RangeArgs {
    /// The ranges; those of the example if no subnet is given.
    pub(super) fn resolve(self, example: RangesOptions) -> Result<RangesOptions, RangeArgsError> {
        let exclude = self.exclude.iter().map(ToString::to_string).collect();
        if self.subnets.is_empty() {
            let routes = if self.routes.is_empty() { example.routes } else { self.routes };
            return Ok(RangesOptions { exclude, routes, ..example });
        }
        let mut ranges: Vec<RangeOptions> = self.subnets.iter().map(|subnet| RangeOptions::new(*subnet)).collect();
        let spans = |end: fn(&Span) -> IpAddr| self.ranges.iter().map(end).collect::<Vec<IpAddr>>();
        let options: [(&'static str, &[IpAddr], Key); 7] = [
            ("--range-start", &self.range_starts, |range| &mut range.random[0]),
            ("--range-end", &self.range_ends, |range| &mut range.random[1]),
            ("--range", &spans(Span::first), |range| &mut range.random[0]),
            ("--range", &spans(Span::last), |range| &mut range.random[1]),
            ("--fixed-start", &self.fixed_starts, |range| &mut range.fixed[0]),
            ("--fixed-end", &self.fixed_ends, |range| &mut range.fixed[1]),
            ("--gateway", &self.gateways, |range| &mut range.gateway),
        ];
        for (option, addresses, key) in options {
            for ip in addresses {
                place(&mut ranges, option, *ip, key)?;
            }
        }
        Ok(RangesOptions { ranges, exclude, routes: self.routes })
    }
}

/// Sets the key of the range that the address belongs to. A gateway may be outside its subnet.
fn place(ranges: &mut [RangeOptions], option: &'static str, ip: IpAddr, key: Key) -> Result<(), RangeArgsError> {
    let within = ranges.iter().position(|range| range.subnet.contains(&ip));
    let mut same_family = (0..ranges.len()).filter(|i| Family::of(ranges[*i].subnet.addr()) == Family::of(ip));
    let only = same_family.next().filter(|_| option == "--gateway" && same_family.next().is_none());
    let Some(range) = within.or(only).and_then(|i| ranges.get_mut(i)) else {
        return Err(RangeArgsError::Outside { option, ip });
    };
    let subnet = range.subnet;
    match key(range).replace(ip) {
        None => Ok(()),
        Some(_) => Err(RangeArgsError::Repeated { option, subnet }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn resolved(args: &str) -> Result<RangesOptions, RangeArgsError> {
        let command = RangeArgs::augment_args(Command::new("ranges").no_binary_name(true));
        let matches = command.try_get_matches_from(args.split_whitespace()).unwrap();
        RangeArgs::from_arg_matches(&matches).unwrap().resolve(RangesOptions::example())
    }

    #[test]
    fn addresses_belong_to_the_subnet_that_contains_them() {
        let of = |text: &str| Some(text.parse().unwrap());
        let ranges = resolved(
            "--subnet 10.1.0.0/24 --subnet fd00::/64 --subnet 10.2.0.0/24 --range-start fd00::10 --range 10.2.0.5-10.2.0.9 \
             --fixed-end 10.1.0.20 --gateway 10.2.0.1 --gateway fe80::1",
        );
        let ranges = ranges.unwrap().ranges;
        let [first, second, third] = ranges.as_slice() else { unreachable!() };
        assert_eq!((first.random, first.fixed, first.gateway), ([None; 2], [None, of("10.1.0.20")], None));
        assert_eq!((second.random, second.gateway), ([of("fd00::10"), None], of("fe80::1")));
        assert_eq!((third.random, third.gateway), ([of("10.2.0.5"), of("10.2.0.9")], of("10.2.0.1")));
    }

    #[test]
    fn an_address_without_a_subnet_or_with_another_before_it_is_refused() {
        for (args, expected) in [
            ("--subnet 10.1.0.0/24 --range-start 10.2.0.1", "--range-start 10.2.0.1 is in no --subnet"),
            ("--subnet 10.1.0.0/24 --gateway fd00::1", "--gateway fd00::1 is in no --subnet"),
            ("--subnet 10.1.0.0/24 --subnet 10.2.0.0/24 --gateway 10.3.0.1", "--gateway 10.3.0.1 is in no --subnet"),
            (
                "--subnet 10.1.0.0/24 --range-end 10.1.0.9 --range 10.1.0.2-10.1.0.8",
                "--range is given twice for 10.1.0.0/24",
            ),
            ("--subnet 10.1.0.0/24 --gateway 10.1.0.1 --gateway 10.9.0.1", "--gateway is given twice for 10.1.0.0/24"),
        ] {
            assert_eq!(resolved(args).unwrap_err().to_string(), expected, "{args}");
        }
    }

    #[test]
    fn without_a_subnet_there_is_an_example() {
        assert_eq!(resolved("").unwrap(), RangesOptions::example());
        let excluding = resolved("--exclude 10.188.0.128/25").unwrap();
        assert_eq!(excluding.exclude, ["10.188.0.128-10.188.0.255"]);
    }
}
