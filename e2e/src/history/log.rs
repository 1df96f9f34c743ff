//! The history of a cluster from the logs of its nodes (`"log": { "format": "json" }`). Each call writes a line when it
//! ends.
//!
//! | in the log | what is certain |
//! |---|---|
//! | an ADD that succeeded | its addresses are held from then on |
//! | a DEL, however it ended | nothing is held from its start on |
//! | an ADD that took an address over | the previous holder does not hold it from the start of that ADD on |
//! | `freed by a sweep` | the holder does not hold it from when the sweep may have sent the release |
//! | a call that was killed and left no line | nothing is held from when it may have begun |
//! | a node's power was cut | nothing on it is held |
//!
//! All nodes of a test run on one machine, so their times are comparable. If a node's clock is wrong, its calls write
//! to a separate log with a known offset.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Hold;
use crate::Result;

/// The routing domain of all networks of the clusters. Log lines name only other ones.
const VRF: &str = "default";

/// The longest time that a call may take, unless its configuration has another `timeout`.
const LONGEST_CALL: Duration = Duration::from_secs(10);

/// The longest time that a sweep waits for one response of its store.
const LONGEST_RELEASE: Duration = Duration::from_secs(30);

/// The precision of the times in log lines.
const MILLISECOND: Duration = Duration::from_millis(1);

/// What calls on a node have logged with one clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The node.
    pub node: String,
    /// How far the clock was ahead of the correct time.
    pub ahead: SignedDuration,
    /// The lines.
    pub text: String,
}

/// Something that happened on a node and is not in its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlogged {
    /// The node.
    pub node: String,
    /// What happened.
    pub event: Event,
    /// When it happened.
    pub at: Timestamp,
}

/// What is not in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call was killed.
    Killed {
        /// `CNI_COMMAND`.
        verb: String,
        /// `CNI_CONTAINERID`.
        container: String,
        /// `CNI_IFNAME`.
        interface: String,
    },
    /// The node's power was cut.
    PowerCut,
}

/// The fields of a line that are used here.
#[derive(Debug, Deserialize)]
struct Line {
    timestamp: Timestamp,
    message: Option<String>,
    operation: Option<String>,
    network: Option<String>,
    pod: Option<String>,
    container: Option<String>,
    interface: Option<String>,
    addresses: Option<String>,
    source: Option<String>,
    code: Option<u32>,
    total_ms: Option<f64>,
    target: Option<String>,
    holder: Option<String>,
}

/// An address that an ADD has assigned.
struct Given {
    hold: Hold<Timestamp>,
    ip: IpAddr,
    began: Timestamp,
    place: Place,
    /// Its holder, as other lines name it.
    described: String,
}

/// An attachment on any network.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    node: String,
    container: String,
    interface: String,
}

/// Something that ends holds.
struct End {
    of: Ended,
    /// It ended no hold before this time.
    began: Timestamp,
    /// It ended no hold after this time.
    over: Timestamp,
}

enum Ended {
    /// Those of an attachment.
    Attachment(Place),
    /// Those of the holder in the source of this ADD.
    TakenOver { by: Place, source: String },
    /// That of an address and a holder.
    Swept { target: String, holder: String },
    /// Those of a node.
    Node(String),
}

/// The holds according to the logs of nodes, in correct time.
///
/// # Errors
/// If a line of JSON is not from kube-ipam.
pub fn holds(logs: &[Log], unlogged: &[Unlogged]) -> Result<Vec<Hold<Timestamp>>> {
    let (mut given, mut ends) = (Vec::new(), Vec::new());
    for Log { node, ahead, text } in logs {
        // A line without a newline is still being written. In another format, the history of the cluster is not
        // checked.
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        for text in whole.lines().filter(|text| text.starts_with('{')) {
            let mut line: Line = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
            line.timestamp = line.timestamp.checked_sub(*ahead)?;
            line.tell(node, &mut given, &mut ends)?;
        }
    }
    ends.extend(unlogged.iter().filter_map(Unlogged::end));
    let closed = given.into_iter().filter_map(|Given { mut hold, ip, began, place, described }| {
        let ended = ends.iter().filter(|end| end.over >= began && end.of.is_of(ip, &place, &described));
        hold.until = ended.map(|end| end.began).min();
        // If it ended before it was certain, it was never certain.
        hold.until.is_none_or(|until| until > hold.from).then_some(hold)
    });
    Ok(closed.collect())
}

impl Line {
    fn tell(&self, node: &str, given: &mut Vec<Given>, ends: &mut Vec<End>) -> Result<()> {
        let over = self.timestamp + MILLISECOND;
        if self.message.as_deref() == Some("freed by a sweep") {
            let (target, holder) = (self.target.clone().unwrap_or_default(), self.holder.clone().unwrap_or_default());
            let of = match target.split_once('/') {
                Some((container, interface)) => Ended::Attachment(Place::new(node, container, interface)),
                None => Ended::Swept { target, holder },
            };
            ends.push(End { of, began: self.timestamp - LONGEST_RELEASE, over });
            return Ok(());
        }
        let (Some(verb), Some(container), Some(interface)) = (&self.operation, &self.container, &self.interface) else {
            return Ok(());
        };
        let took = SignedDuration::try_from_secs_f64(self.total_ms.unwrap_or_default() / 1000.0)?;
        let began = self.timestamp - took - MILLISECOND;
        let place = Place::new(node, container, interface);
        match verb.as_str() {
            "DEL" => ends.push(End { of: Ended::Attachment(place), began, over }),
            "ADD" if self.code.is_none() => {
                let network = self.network.as_deref().unwrap_or_default();
                let who = match &self.pod {
                    Some(pod) => format!("pod {pod}"),
                    None => format!("container {container}"),
                };
                let described = format!("{who}, interface {interface}, node {node}, network {network}");
                for net in self.addresses.as_deref().unwrap_or_default().split(',') {
                    let ip = net.parse::<IpNet>()?.addr();
                    let holder = format!("{node}/{container}/{interface}/{network}");
                    let (vrf, ip_of_hold, machine) = (VRF.to_owned(), ip.to_string(), self.machine());
                    let hold = Hold { vrf, ip: ip_of_hold, holder, machine, from: over, until: None };
                    given.push(Given { hold, ip, began, place: place.clone(), described: described.clone() });
                }
                let source = self.source.clone().unwrap_or_default();
                if source.contains(" taken over from ") {
                    ends.push(End { of: Ended::TakenOver { by: place, source }, began, over });
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Line {
    /// The virtual machine that owns addresses, or its claim. KubeVirt's pods are recognized by their name.
    fn machine(&self) -> Option<String> {
        let (_, owner) = self.source.as_deref()?.split_once("kept for ")?;
        let owner = owner.split(',').next()?;
        let (_, pod) = self.pod.as_deref()?.split_once('/')?;
        let is_machine = owner.starts_with("VirtualMachine") || pod.starts_with("virt-launcher-");
        is_machine.then(|| owner.to_owned())
    }
}

impl Place {
    fn new(node: &str, container: &str, interface: &str) -> Self {
        let [node, container, interface] = [node, container, interface].map(str::to_owned);
        Self { node, container, interface }
    }
}

impl Unlogged {
    fn end(&self) -> Option<End> {
        match &self.event {
            Event::PowerCut => Some(End { of: Ended::Node(self.node.clone()), began: self.at, over: self.at }),
            Event::Killed { verb, container, interface } if verb == "DEL" => {
                let of = Ended::Attachment(Place::new(&self.node, container, interface));
                Some(End { of, began: self.at - LONGEST_CALL, over: self.at })
            }
            // Its result is unknown.
            Event::Killed { .. } => None,
        }
    }
}

impl Ended {
    fn is_of(&self, ip: IpAddr, place: &Place, described: &str) -> bool {
        match self {
            Self::Attachment(of) => of == place,
            Self::TakenOver { by, source } => {
                by != place && source.contains(&format!("{ip} taken over from {described}, "))
            }
            Self::Swept { target, holder } => *target == ip.to_string() && holder == described,
            Self::Node(node) => *node == place.node,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::history::duplicates;

    /// The time at this second of a minute.
    fn at(second: f64) -> Timestamp {
        let start: Timestamp = "2026-11-23T04:58:00Z".parse().unwrap();
        start + SignedDuration::try_from_secs_f64(second).unwrap()
    }

    /// A line of a call that took half a second.
    fn call(verb: &str, second: f64, container: &str, more: &Value) -> String {
        let mut line = json!({
            "timestamp": format!("{:.3}", at(second)), "level": "INFO", "operation": verb, "network": "db",
            "pod": format!("ns/{}", container.trim_end_matches(char::is_numeric)), "container": container,
            "interface": "net1", "addresses": "10.188.1.7/16", "source": "any", "total_ms": 500.0 });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("{line}\n")
    }

    fn log(node: &str, ahead: i64, lines: &[String]) -> Log {
        Log { node: node.to_owned(), ahead: SignedDuration::from_secs(ahead), text: lines.concat() }
    }

    fn told(n1: &[String], n2: &[String], unlogged: &[Unlogged]) -> Vec<Hold<Timestamp>> {
        holds(&[log("n1", 0, n1), log("n2", 0, n2)], unlogged).unwrap()
    }

    fn ends_of(holds: &[Hold<Timestamp>]) -> Vec<(&str, Option<Timestamp>)> {
        holds.iter().map(|hold| (hold.holder.split('/').nth(1).unwrap(), hold.until)).collect()
    }

    fn add(second: f64, container: &str) -> String {
        call("ADD", second, container, &json!({}))
    }

    #[test]
    fn an_address_is_held_from_the_end_of_its_add_to_the_begin_of_its_del() {
        let del = call("DEL", 20.0, "a1", &json!({}));
        let (refused, of_another) =
            (call("ADD", 12.0, "c1", &json!({ "code": 11 })), call("DEL", 11.0, "b1", &json!({})));
        // The first node has no holds: neither what its earlier line released, nor a line in another format.
        let holds = told(&["INFO a line of text\n".to_owned(), of_another], &[add(10.0, "a1"), del, refused], &[]);
        let expected = Hold {
            vrf: "default".to_owned(),
            ip: "10.188.1.7".to_owned(),
            holder: "n2/a1/net1/db".to_owned(),
            machine: None,
            from: at(10.001),
            until: Some(at(19.499)),
        };
        assert_eq!(holds, [expected]);
    }

    #[test]
    fn a_duplicate_that_is_planted_in_the_logs_of_two_nodes_is_found() {
        let n1 = [add(10.0, "a1"), call("DEL", 20.0, "a1", &json!({}))];
        let planted = |second| duplicates(&told(&n1, &[add(second, "b1")], &[])).len();
        assert_eq!([planted(9.0), planted(15.0), planted(19.4), planted(21.0)], [1, 1, 1, 0]);
        // Also if another line says that it was taken over from a third holder.
        let other = json!({ "source": "fixed by x, 10.188.1.7 taken over from pod ns/c, interface net1, node n1, network db, gone" });
        let taken = call("ADD", 15.0, "b1", &other);
        assert_eq!(duplicates(&told(&n1, &[taken], &[])).len(), 1);
    }

    #[test]
    fn a_line_tells_the_right_time_whatever_clock_it_was_written_by() {
        // One follows the other, but their clocks differ by twenty seconds, so the times in the lines overlap.
        let del = |second| call("DEL", second, "a1", &json!({}));
        let n1 = [log("n1", 10, &[add(20.0, "a1")]), log("n1", -10, &[del(10.0)])];
        let n2 = |second| log("n2", -10, &[add(second - 10.0, "b1")]);
        let with = |second| holds(&[n1[0].clone(), n1[1].clone(), n2(second)], &[]).unwrap();
        assert_eq!(ends_of(&with(21.0)), [("a1", Some(at(19.499))), ("b1", None)]);
        assert_eq!([9.0, 15.0, 19.4, 21.0].map(|second| duplicates(&with(second)).len()), [1, 1, 1, 0]);
    }

    #[test]
    fn two_pods_of_a_machine_that_migrates_are_told_by_for_whom_they_have_it() {
        let of = |container: &str, pod: &str, owner: &str| {
            call("ADD", 10.0, container, &json!({ "pod": pod, "source": format!("any, kept for {owner}") }))
        };
        for (pods, owner, duplicate) in [
            (["ns/a", "ns/b"], "VirtualMachine ns/vm1", false),
            (["ns/virt-launcher-vm1-a", "ns/virt-launcher-vm1-b"], "IPAMClaim ns/vm1.db", false),
            (["ns/a", "ns/b"], "IPAMClaim ns/data", true),
            (["ns/pg-0", "ns/pg-0"], "StatefulSet pod ns/pg-0", true),
        ] {
            let holds = told(&[of("a1", pods[0], owner)], &[of("b1", pods[1], owner)], &[]);
            assert_eq!(duplicates(&holds).len(), usize::from(duplicate), "{owner}");
        }
    }

    #[test]
    fn a_take_over_ends_the_hold_of_whom_it_names_and_a_sweep_too() {
        for (of, shown) in [("n1", "gone"), ("n2", "its earlier sandbox")] {
            let source = format!(
                "fixed by x, 10.188.1.7 taken over from pod ns/a, interface net1, node {of}, network db, {shown}"
            );
            let heir = call("ADD", 15.0, "a2", &json!({ "source": source }));
            let (n1, n2) =
                if of == "n1" { (vec![add(10.0, "a1")], vec![heir]) } else { (vec![], vec![add(10.0, "a1"), heir]) };
            let holds = told(&n1, &n2, &[]);
            assert_eq!(ends_of(&holds), [("a1", Some(at(14.499))), ("a2", None)]);
            assert_eq!(duplicates(&holds), []);
        }
        let swept = |holder: &str| {
            let line = json!({ "timestamp": at(50.0), "message": "freed by a sweep", "target": "10.188.1.7", "holder": holder });
            told(&[add(10.0, "a1"), format!("{line}\n")], &[add(51.0, "b1")], &[])
        };
        let holds = swept("pod ns/a, interface net1, node n1, network db");
        assert_eq!((ends_of(&holds)[0], duplicates(&holds)), (("a1", Some(at(20.0))), vec![]));
        assert_eq!(duplicates(&swept("pod ns/other, interface net1, node n1, network db")).len(), 1);
    }

    #[test]
    fn what_left_no_line_ends_what_it_may_have_ended() {
        let killed = |verb: &str, container: &str| {
            let [verb, container] = [verb, container].map(str::to_owned);
            let event = Event::Killed { verb, container, interface: "net1".to_owned() };
            Unlogged { node: "n1".to_owned(), event, at: at(40.0) }
        };
        let power = |node: &str| Unlogged { node: node.to_owned(), event: Event::PowerCut, at: at(30.0) };
        for (unlogged, until) in [
            (killed("DEL", "a1"), Some(at(30.0))),
            (killed("ADD", "a1"), None),
            (killed("DEL", "a2"), None),
            (power("n1"), Some(at(30.0))),
            (power("n2"), None),
        ] {
            let holds = told(&[add(10.0, "a1")], &[], std::slice::from_ref(&unlogged));
            assert_eq!(ends_of(&holds), [("a1", until)], "{unlogged:?}");
        }
        // It does not end a hold that began later.
        assert_eq!(ends_of(&told(&[add(41.0, "a1")], &[], &[power("n1")])), [("a1", None)]);
    }
}
