#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use proptest::prelude::*;

use super::*;

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// An ARP packet from another host.
fn arp(operation: u16, sender: &str, target: &str) -> Vec<u8> {
    let octets = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets();
    let (sender, target) = (octets(sender), octets(target));
    [&ethernet(OWN, OTHER, ARP)[..], &ARP_ON_ETHERNET, &operation.to_be_bytes(), &OTHER.0, &sender, &OWN.0, &target]
        .concat()
}

/// A neighbour discovery message from another host. Its packet is valid except for the fields that a test changes.
#[derive(Clone)]
struct Neighbour {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hops: u8,
    kind: u8,
    code: u8,
    flags: u8,
    target: Ipv6Addr,
    options: Vec<u8>,
}

impl Neighbour {
    /// The answer to a probe: sent to all nodes by the host that uses the address.
    fn advertisement() -> Self {
        Self {
            source: v6("fd00::5"),
            destination: v6("ff02::1"),
            hops: 255,
            kind: ADVERTISEMENT,
            code: 0,
            flags: 0x20,
            target: v6("fd00::5"),
            options: option(TARGET_LINK_ADDRESS, OTHER),
        }
    }

    /// A probe of another host.
    fn probe_frame() -> Self {
        Self {
            source: Ipv6Addr::UNSPECIFIED,
            destination: solicited_node(v6("fd00::5")),
            kind: SOLICITATION,
            flags: 0,
            options: Vec::new(),
            ..Self::advertisement()
        }
    }

    fn frame(&self) -> Vec<u8> {
        let head = [self.kind, self.code, 0, 0, self.flags, 0, 0, 0];
        let mut message = [&head[..], &self.target.octets(), &self.options].concat();
        let sum = checksum(self.source, self.destination, &message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        let mut frame = ethernet(OWN, OTHER, IPV6);
        frame.extend([0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, self.hops]);
        frame.extend(self.source.octets());
        frame.extend(self.destination.octets());
        frame.extend(message);
        frame
    }
}

fn option(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1][..], &mac.0].concat()
}

#[test]
fn an_arp_probe_is_as_rfc_5227_has_it() {
    let mut expected = vec![0xff; 6];
    expected.extend([2, 0, 0, 0, 0, 1, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    expected.extend([2, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    expected.extend([0, 0, 0, 0, 0, 0, 10, 1, 0, 5]);
    assert_eq!(probe_frame(OWN, ip("10.1.0.5")), expected);
}

#[test]
fn a_solicitation_is_as_rfc_4862_has_it() {
    let frame = probe_frame(OWN, ip("fd00::1:ab05"));
    let mut expected = vec![0x33, 0x33, 0xff, 1, 0xab, 5, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
    expected.extend([0x60, 0, 0, 0, 0, 24, 58, 255]);
    expected.extend([0; 16]);
    expected.extend(v6("ff02::1:ff01:ab05").octets());
    // The checksum, computed by hand: all words of the pseudo header and the message are 0x0000 except ff02, 1, ff01,
    // ab05, 24, 58, 8700, fd00, 1 and ab05.
    let sum: u32 = 0xff02 + 1 + 0xff01 + 0xab05 + 24 + 58 + 0x8700 + 0xfd00 + 1 + 0xab05;
    let folded = !(((sum >> 16) + (sum & 0xffff)) as u16);
    expected.extend([135, 0, (folded >> 8) as u8, folded as u8, 0, 0, 0, 0]);
    expected.extend(v6("fd00::1:ab05").octets());
    assert_eq!(frame, expected);
}

#[test]
fn an_arp_packet_claims_its_sender_s_address_and_a_probe_the_one_it_asks_for() {
    let claimed = |operation, sender, target| conflict_in(&arp(operation, sender, target), OWN);
    let of_other = |text| Some(Conflict { ip: ip(text), mac: OTHER, claim: Claim::InUse });
    let probed = Some(Conflict { ip: ip("10.1.0.5"), mac: OTHER, claim: Claim::Probing });
    assert_eq!(claimed(ARP_REPLY, "10.1.0.5", "0.0.0.0"), of_other("10.1.0.5"));
    assert_eq!(claimed(ARP_REQUEST, "10.1.0.5", "10.1.0.5"), of_other("10.1.0.5"), "an announcement");
    assert_eq!(claimed(ARP_REQUEST, "10.1.0.7", "10.1.0.5"), of_other("10.1.0.7"), "a question about it");
    assert_eq!(claimed(ARP_REQUEST, "0.0.0.0", "10.1.0.5"), probed, "a probe");
    assert_eq!(claimed(ARP_REPLY, "0.0.0.0", "10.1.0.5"), None);
    assert_eq!(claimed(3, "10.1.0.5", "10.1.0.5"), None, "reverse ARP");
}

#[test]
fn an_advertisement_claims_its_target_and_so_does_a_solicitation_from_nowhere() {
    let claimed = |neighbour: Neighbour| conflict_in(&neighbour.frame(), OWN);
    let by = |mac, claim| Some(Conflict { ip: ip("fd00::5"), mac, claim });
    let (of_other, probed) = (by(OTHER, Claim::InUse), by(OTHER, Claim::Probing));
    let (advertisement, probe) = (Neighbour::advertisement(), Neighbour::probe_frame());
    assert_eq!(claimed(advertisement.clone()), of_other);
    assert_eq!(claimed(Neighbour { options: Vec::new(), ..advertisement.clone() }), of_other, "by the frame's source");
    let behind = Mac([2, 0, 0, 0, 0, 0x77]);
    let by_option = Neighbour { options: option(TARGET_LINK_ADDRESS, behind), ..advertisement.clone() };
    assert_eq!(claimed(by_option), by(behind, Claim::InUse));
    let unicast = Neighbour { destination: v6("fd00::1"), flags: 0x60, ..advertisement };
    assert_eq!(claimed(unicast), of_other);
    assert_eq!(claimed(probe.clone()), probed);
    // With a nonce (RFC 7527).
    assert_eq!(claimed(Neighbour { options: vec![14, 1, 1, 2, 3, 4, 5, 6], ..probe }), probed);
}

#[test]
fn what_is_against_the_checks_of_neighbour_discovery_claims_nothing() {
    let (advertisement, probe) = (Neighbour::advertisement(), Neighbour::probe_frame());
    let odd = [
        ("routed", Neighbour { hops: 254, ..advertisement.clone() }),
        ("code", Neighbour { code: 1, ..advertisement.clone() }),
        ("solicited by a group", Neighbour { flags: 0x60, ..advertisement.clone() }),
        ("an option of no length", Neighbour { options: vec![2, 0, 0, 0, 0, 0, 0, 0], ..advertisement.clone() }),
        ("an option beyond the end", Neighbour { options: vec![2, 2, 0, 0, 0, 0, 0, 0], ..advertisement.clone() }),
        ("half an option", Neighbour { options: vec![2], ..advertisement.clone() }),
        ("a router's", Neighbour { kind: 134, ..advertisement }),
        ("a neighbour's question", Neighbour { source: v6("fd00::7"), ..probe.clone() }),
        ("to another group", Neighbour { destination: v6("ff02::1"), ..probe.clone() }),
        ("with a source that it has not", Neighbour { options: option(SOURCE_LINK_ADDRESS, OTHER), ..probe }),
    ];
    for (what, neighbour) in odd {
        assert_eq!(conflict_in(&neighbour.frame(), OWN), None, "{what}");
    }
    let whole = Neighbour::advertisement().frame();
    for (what, at, octet) in [("version", 14, 0x40), ("next header", 20, 6), ("checksum", 56, 0), ("length", 19, 200)] {
        let mut frame = whole.clone();
        frame[at] = octet;
        assert_eq!(conflict_in(&frame, OWN), None, "{what}");
    }
}

#[test]
fn one_s_own_frames_and_those_of_nobody_claim_nothing() {
    for frame in
        [arp(ARP_REPLY, "10.1.0.5", "0.0.0.0"), Neighbour::advertisement().frame(), Neighbour::probe_frame().frame()]
    {
        assert!(conflict_in(&frame, OWN).is_some());
        assert_eq!(conflict_in(&frame, OTHER), None);
    }
    for sent in [probe_frame(OWN, ip("10.1.0.5")), probe_frame(OWN, ip("fd00::5"))] {
        assert_eq!(conflict_in(&sent, OWN), None);
        assert!(conflict_in(&sent, OTHER).is_some());
    }
    for nobody in [[0; 6], [0xff; 6], [1, 0, 0, 0, 0, 0]] {
        let mut frame = arp(ARP_REPLY, "10.1.0.5", "0.0.0.0");
        frame[22..28].copy_from_slice(&nobody);
        assert_eq!(conflict_in(&frame, OWN), None);
    }
}

#[test]
fn what_is_cut_off_claims_nothing_and_padding_does_not_matter() {
    for whole in
        [arp(ARP_REPLY, "10.1.0.5", "0.0.0.0"), Neighbour::advertisement().frame(), Neighbour::probe_frame().frame()]
    {
        for length in 0..whole.len() {
            assert_eq!(conflict_in(&whole[..length], OWN), None, "{length} octets");
        }
        let mut padded = whole.clone();
        padded.resize(whole.len() + 18, 0xaa);
        assert_eq!(conflict_in(&padded, OWN), conflict_in(&whole, OWN));
    }
}

#[test]
fn an_arp_packet_of_other_hardware_or_protocol_claims_nothing() {
    for (what, at) in [("hardware", 15), ("protocol", 16), ("length of the one", 18), ("length of the other", 19)] {
        let mut frame = arp(ARP_REPLY, "10.1.0.5", "0.0.0.0");
        frame[at] ^= 7;
        assert_eq!(conflict_in(&frame, OWN), None, "{what}");
    }
    let mut tagged = arp(ARP_REPLY, "10.1.0.5", "0.0.0.0");
    tagged[12..14].copy_from_slice(&[0x81, 0]);
    assert_eq!(conflict_in(&tagged, OWN), None);
}

proptest! {
    #[test]
    fn no_frame_is_beyond_reading(
        mut frame in prop::collection::vec(any::<u8>(), 0..200),
        kind in prop_oneof![Just(None), Just(Some(ARP)), Just(Some(IPV6))],
    ) {
        if let (Some(kind), Some(octets)) = (kind, frame.get_mut(12..14)) {
            octets.copy_from_slice(&kind.to_be_bytes());
        }
        let _ = conflict_in(&frame, OWN);
    }

    #[test]
    fn a_changed_octet_of_an_advertisement_never_makes_it_claim_another_address(at in 14_usize..86, octet in any::<u8>()) {
        let mut frame = Neighbour::advertisement().frame();
        frame[at] = octet;
        let claimed = conflict_in(&frame, OWN);
        prop_assert!(claimed.is_none_or(|conflict| conflict.ip == ip("fd00::5")));
    }
}
