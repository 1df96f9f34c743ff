//! Records which attachment held which address when, from the plugin's replies, and detects an address with two owners.
//!
//! ```text
//!  ADD begins ──── reply of the ADD ═══════ certainly held ═══════ DEL begins ──── reply of the DEL
//! ```
//!
//! An attachment certainly holds an address from the reply of its ADD to the start of its DEL. What an ADD without a
//! reply was assigned is unknown, so it counts as nothing. If two holds of one address in one routing domain (vrf)
//! overlap, the address has two owners, whatever the store contains.

pub mod log;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::cni::Reply;

/// A period in which an attachment held an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold<Time = Instant> {
    /// The routing domain.
    pub vrf: String,
    /// The address, without a prefix length.
    pub ip: String,
    /// The attachment.
    pub holder: String,
    /// The virtual machine that owns it, or its claim. During a migration, two of its pods have the address.
    pub machine: Option<String>,
    /// From when it was certainly held.
    pub from: Time,
    /// Until when that is certain; `None` if it still is.
    pub until: Option<Time>,
}

impl<Time: Ord> Hold<Time> {
    /// Whether both were held at some time. A hold that ends exactly when the other begins does not overlap it.
    fn overlaps(&self, other: &Self) -> bool {
        let ends_after = |one: &Self, from: &Time| one.until.as_ref().is_none_or(|until| until > from);
        ends_after(self, &other.from) && ends_after(other, &self.from)
    }
}

impl<Time> fmt::Display for Hold<Time> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {} in {}", self.ip, self.holder, self.vrf)
    }
}

/// All pairs of holds in which one address had two owners at once. Two pods of one machine are one owner.
pub fn duplicates<Time: Ord + Clone>(holds: &[Hold<Time>]) -> Vec<(Hold<Time>, Hold<Time>)> {
    let mut sorted: Vec<&Hold<Time>> = holds.iter().collect();
    sorted.sort_by(|a, b| (&a.vrf, &a.ip, &a.from).cmp(&(&b.vrf, &b.ip, &b.from)));
    let mut found = Vec::new();
    for (n, first) in sorted.iter().enumerate() {
        let same = sorted[n + 1..].iter().take_while(|second| (&second.vrf, &second.ip) == (&first.vrf, &first.ip));
        let of_one_owner = |second: &Hold<Time>| {
            second.holder == first.holder || first.machine.is_some() && second.machine == first.machine
        };
        let owned_by_two = same.filter(|second| !of_one_owner(second) && first.overlaps(second));
        found.extend(owned_by_two.map(|second| ((*first).clone(), (*second).clone())));
    }
    found
}

/// The holds of a test. Threads that call the plugin share it.
#[derive(Default)]
pub struct History {
    holds: Mutex<Vec<Hold>>,
}

impl History {
    /// A history without holds.
    pub fn new() -> Self {
        Self::default()
    }

    fn holds(&self) -> MutexGuard<'_, Vec<Hold>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the reply of a successful ADD.
    ///
    /// # Panics
    /// If it has no addresses, or others than those that this attachment already has.
    #[track_caller]
    pub fn given(&self, vrf: &str, holder: &str, reply: &Reply) {
        let from = Instant::now();
        let given: Vec<String> = reply.addresses().iter().map(|net| bare(net)).collect();
        assert!(reply.status.success() && !given.is_empty(), "nothing was given to {holder}: {}", reply.stdout);
        let mut holds = self.holds();
        let of_holder = |hold: &&Hold| hold.until.is_none() && hold.holder == holder;
        let before: Vec<String> = holds.iter().filter(of_holder).map(|hold| hold.ip.clone()).collect();
        let same = before.iter().all(|ip| given.contains(ip));
        assert!(same, "{holder} has {before:?} and was given {given:?}");
        for ip in given.into_iter().filter(|ip| !before.contains(ip)) {
            let (vrf, holder) = (vrf.to_owned(), holder.to_owned());
            holds.push(Hold { vrf, ip, holder, machine: None, from, until: None });
        }
    }

    /// Records that a DEL is about to begin, or that the holder's pod is confirmed gone.
    pub fn releasing(&self, holder: &str) {
        let now = Instant::now();
        let mut holds = self.holds();
        let open = holds.iter_mut().filter(|hold| hold.until.is_none() && hold.holder == holder);
        open.for_each(|hold| hold.until = Some(now));
    }

    /// The addresses that are certainly held now, in order, with their holders.
    pub fn holders(&self) -> Vec<(String, String)> {
        let open = |hold: &&Hold| hold.until.is_none();
        let mut holders: Vec<_> =
            self.holds().iter().filter(open).map(|hold| (hold.ip.clone(), hold.holder.clone())).collect();
        holders.sort();
        holders
    }

    /// Checks the invariant on the whole history.
    ///
    /// # Panics
    /// If one address ever had two owners.
    #[track_caller]
    pub fn has_no_duplicates(&self) {
        let found = duplicates(&self.holds());
        let told: Vec<String> = found.iter().map(|(first, second)| format!("{first}, and {second}")).collect();
        assert!(found.is_empty(), "two owners at a time: {}", told.join("; "));
    }
}

fn bare(net: &str) -> String {
    net.split('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(vrf: &str, ip: &str, holder: &str, from: u32, until: Option<u32>) -> Hold<u32> {
        let [vrf, ip, holder] = [vrf, ip, holder].map(str::to_owned);
        Hold { vrf, ip, holder, machine: None, from, until }
    }

    /// Holders take turns with an address, for four addresses.
    fn lawful() -> Vec<Hold<u32>> {
        let of_round = |round: u32| {
            (0..4).map(move |n| {
                let (ip, holder) = (format!("10.1.0.{n}"), format!("c{round}-{n}"));
                hold("default", &ip, &holder, 10 * round, (round < 9).then_some(10 * round + 10))
            })
        };
        (0..10).flat_map(of_round).collect()
    }

    #[test]
    fn holds_one_after_the_other_are_no_duplicates() {
        assert_eq!(duplicates(&lawful()), []);
    }

    #[test]
    fn a_planted_duplicate_is_found_wherever_it_is() {
        // Within another hold, across two, equal to one, without an end, and around one.
        for (from, until, with) in [
            (41, Some(42), vec!["c4-2"]),
            (39, Some(41), vec!["c3-2", "c4-2"]),
            (40, Some(50), vec!["c4-2"]),
            (85, None, vec!["c8-2", "c9-2"]),
            (0, Some(11), vec!["c0-2", "c1-2"]),
        ] {
            let planted = hold("default", "10.1.0.2", "planted", from, until);
            let holds: Vec<_> = lawful().into_iter().chain([planted.clone()]).collect();
            let mut others: Vec<String> = Vec::new();
            for (first, second) in duplicates(&holds) {
                assert!(first == planted || second == planted, "{first}, {second}");
                others.push(if first == planted { second.holder } else { first.holder });
            }
            others.sort();
            assert_eq!(others, with, "from {from} until {until:?}");
        }
    }

    #[test]
    fn one_address_in_two_routing_domains_and_two_of_one_holder_are_no_duplicates() {
        let open = |vrf, ip, holder| hold(vrf, ip, holder, 1, None);
        let holds = [
            open("default", "10.1.0.1", "c1"),
            open("blue", "10.1.0.1", "c2"),
            open("default", "10.1.0.2", "c1"),
            // Recorded twice, as for a repeated ADD.
            hold("default", "10.1.0.2", "c1", 3, None),
        ];
        assert_eq!(duplicates(&holds), []);
    }

    #[test]
    fn two_pods_of_one_machine_are_one_owner_and_of_two_machines_two() {
        let of = |holder, machine: Option<&str>| Hold {
            machine: machine.map(str::to_owned),
            ..hold("default", "10.1.0.1", holder, 1, None)
        };
        for (other, duplicate) in [(Some("vm1"), false), (Some("vm2"), true), (None, true)] {
            let found = duplicates(&[of("source", Some("vm1")), of("target", other)]);
            assert_eq!(found.len(), usize::from(duplicate), "{other:?}");
        }
    }

    #[test]
    fn an_address_passed_on_in_the_moment_of_its_release_had_one_owner() {
        let holds = [hold("default", "10.1.0.1", "c1", 1, Some(5)), hold("default", "10.1.0.1", "c2", 5, None)];
        assert_eq!(duplicates(&holds), []);
    }
}
