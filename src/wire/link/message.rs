//! Encodes and decodes the messages of rtnetlink(7) about one interface. Pure: no I/O. Numbers are in native byte
//! order.

use std::io;

use crate::ipam::takeover::Mac;

const ERROR: u16 = 2;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const SET_LINK: u16 = 19;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;

const HARDWARE_ADDRESS: u16 = 1;
const NAME: u16 = 3;
const INFO: u16 = 18;
const INFO_KIND: u16 = 1;
/// NLA_TYPE_MASK. The two bits above it are flags.
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;

const ETHERNET: u16 = 1;
const UP: u32 = 1;
const RUNNING: u32 = 0x40;
const NO_ARP: u32 = 0x80;
const LOWER_UP: u32 = 0x1_0000;

/// The state of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::wire) struct Link {
    pub(in crate::wire) index: u32,
    /// `None` if it is not Ethernet.
    pub(in crate::wire) mac: Option<Mac>,
    /// Its driver: `veth`, `macvlan`, `ipvlan`; `None` for hardware.
    pub(in crate::wire) kind: Option<String>,
    /// Whether it uses ARP and neighbour discovery.
    pub(in crate::wire) resolves: bool,
    /// Whether it is administratively up.
    pub(in crate::wire) is_up: bool,
    /// Whether it is up, has a carrier, and is operational (RFC 2863).
    pub(in crate::wire) can_send: bool,
}

/// The kernel's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Link(Link),
    Done,
}

/// RTM_GETLINK for the interface of this name.
pub(super) fn get_link(name: &str, sequence: u32) -> Vec<u8> {
    let name = [name.as_bytes(), &[0]].concat();
    let mut about = about(0, 0, 0);
    about.extend(attribute(NAME, &name));
    message(GET_LINK, REQUEST, sequence, &about)
}

/// RTM_SETLINK that sets an interface up or down and changes nothing else.
pub(super) fn set_link_up(index: u32, up: bool, sequence: u32) -> Vec<u8> {
    message(SET_LINK, REQUEST | ACKNOWLEDGE, sequence, &about(index, if up { UP } else { 0 }, UP))
}

/// A message: `struct nlmsghdr` and its content.
fn message(kind: u16, flags: u16, sequence: u32, content: &[u8]) -> Vec<u8> {
    let length = (16 + content.len()) as u32;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    // The port. The kernel fills it in.
    message.extend([0; 4]);
    message.extend(content);
    message
}

/// `struct ifinfomsg`.
fn about(index: u32, flags: u32, change: u32) -> Vec<u8> {
    [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), change.to_ne_bytes()].concat()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut attribute = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// Reads the reply to the request with this sequence number.
pub(super) fn parse_reply(datagram: &[u8], sequence: u32) -> io::Result<Reply> {
    let (kind, content) = only_message(datagram, sequence).ok_or(io::ErrorKind::InvalidData)?;
    match kind {
        ERROR => match content.first_chunk::<4>().map(|code| i32::from_ne_bytes(*code)) {
            Some(0) => Ok(Reply::Done),
            Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
            None => Err(io::ErrorKind::InvalidData.into()),
        },
        NEW_LINK => link(content).map(Reply::Link).ok_or_else(|| io::ErrorKind::InvalidData.into()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn only_message(datagram: &[u8], sequence: u32) -> Option<(u16, &[u8])> {
    let (length, rest) = datagram.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<2>()?;
    let (_flags, rest) = rest.split_first_chunk::<2>()?;
    let (number, rest) = rest.split_first_chunk::<4>()?;
    let (_port, _) = rest.split_first_chunk::<4>()?;
    let content = datagram.get(16..u32::from_ne_bytes(*length) as usize)?;
    (u32::from_ne_bytes(*number) == sequence).then_some((u16::from_ne_bytes(*kind), content))
}

fn link(content: &[u8]) -> Option<Link> {
    let (_family, rest) = content.split_first_chunk::<2>()?;
    let (hardware, rest) = rest.split_first_chunk::<2>()?;
    let (index, rest) = rest.split_first_chunk::<4>()?;
    let (flags, rest) = rest.split_first_chunk::<4>()?;
    let (_change, attributes) = rest.split_first_chunk::<4>()?;
    let (hardware, flags) = (u16::from_ne_bytes(*hardware), u32::from_ne_bytes(*flags));
    let has = |flag| flags & flag == flag;
    let mac = value(attributes, HARDWARE_ADDRESS).and_then(|address| <[u8; 6]>::try_from(address).ok());
    let kind = value(attributes, INFO).and_then(|info| value(info, INFO_KIND));
    Some(Link {
        index: u32::from_ne_bytes(*index),
        mac: mac.filter(|_| hardware == ETHERNET).map(Mac),
        kind: kind.map(|kind| String::from_utf8_lossy(kind).trim_end_matches('\0').to_owned()),
        resolves: !has(NO_ARP),
        is_up: has(UP),
        can_send: has(UP | RUNNING | LOWER_UP),
    })
}

/// The value of the first attribute of this kind.
fn value(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (length, rest) = attributes.split_first_chunk::<2>()?;
        let (kind, _) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes(*kind) & ATTRIBUTE_TYPE_MASK == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

    use super::*;

    /// The kernel's reply about a veth named eth0.
    fn veth(flags: u32) -> Vec<u8> {
        let kind = attribute(INFO_KIND, b"veth\0");
        let mut content = about(7, flags, 0);
        content[2..4].copy_from_slice(&ETHERNET.to_ne_bytes());
        content.extend(attribute(NAME, b"eth0\0"));
        content.extend(attribute(HARDWARE_ADDRESS, &[2, 0, 0, 0, 0, 5]));
        content.extend(attribute(INFO, &kind));
        message(NEW_LINK, 0, 3, &content)
    }

    fn shown(flags: u32) -> Link {
        match parse_reply(&veth(flags), 3).unwrap() {
            Reply::Link(link) => link,
            Reply::Done => unreachable!("it is about a link"),
        }
    }

    #[test]
    fn what_the_kernel_says_of_an_interface_is_read() {
        let down = Link {
            index: 7,
            mac: Some(Mac([2, 0, 0, 0, 0, 5])),
            kind: Some("veth".to_owned()),
            resolves: true,
            is_up: false,
            can_send: false,
        };
        assert_eq!(shown(0), down);
        assert_eq!(shown(UP), Link { is_up: true, ..down.clone() });
        assert_eq!(shown(UP | RUNNING | LOWER_UP), Link { is_up: true, can_send: true, ..down.clone() });
        assert_eq!(shown(NO_ARP), Link { resolves: false, ..down });
    }

    #[test]
    fn an_interface_that_is_not_of_ethernet_has_no_mac_address() {
        let mut loopback = veth(0);
        loopback[18..20].copy_from_slice(&772_u16.to_ne_bytes());
        assert!(matches!(parse_reply(&loopback, 3), Ok(Reply::Link(Link { mac: None, .. }))));
    }

    #[test]
    fn a_refusal_of_the_kernel_is_its_error() {
        let refusal = |code: i32| message(ERROR, 0, 3, &code.to_ne_bytes());
        assert_eq!(parse_reply(&refusal(0), 3).unwrap(), Reply::Done);
        assert_eq!(parse_reply(&refusal(-19), 3).unwrap_err().raw_os_error(), Some(19));
        assert_eq!(parse_reply(&refusal(i32::MIN), 3).unwrap_err().raw_os_error(), Some(i32::MAX));
    }

    #[test]
    fn what_is_cut_off_or_the_reply_to_another_request_is_an_error() {
        let whole = veth(UP);
        assert!(parse_reply(&whole, 4).is_err());
        for length in 0..whole.len() {
            assert!(parse_reply(&whole[..length], 3).is_err(), "{length} octets");
        }
    }

    #[test]
    fn attributes_whose_lengths_cannot_be_true_end_the_reading() {
        let whole = veth(UP);
        // Changes each octet: no reply may cause a read beyond the end or an endless loop.
        for at in 0..whole.len() {
            for octet in [0, 1, 3, 4, 5, 0x7f, 0xff] {
                let mut odd = whole.clone();
                odd[at] = octet;
                let _ = parse_reply(&odd, 3);
            }
        }
        assert_eq!(value(&[0, 0, 1, 0, 9, 9], 1), None);
        assert_eq!(value(&attribute(2, b"x"), 1), None);
    }
}
