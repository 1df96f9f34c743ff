use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::ipam::address::{Family, Span, address};
use crate::ipam::keys;
use crate::ipam::name::{AttachmentId, IfName, Name};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn stems(span: &KeySpan) -> Option<Vec<String>> {
    Stretch::of(span).unwrap().stems
}

#[test]
fn every_kind_of_key_has_a_resource() {
    let node = name("n1");
    let id = AttachmentId {
        node: node.clone(),
        container: name("c1"),
        ifname: IfName::new("net1").unwrap(),
        network: name("web"),
    };
    let cases = [
        (keys::lease(&name("default"), "10.188.0.218".parse().unwrap()), "ipleases", "default-f4-f010-e188-e000-e218"),
        (keys::attachment(&id), "ipattachments", "n1-fc1-fnet1-fweb"),
        (keys::definition(&name("default"), &name("web"), 7), "ipnetworks", ""),
        (keys::usage_history(&name("default"), &name("web")), "ipusages", "default-fweb"),
        (keys::recovery(), "iprecoveries", "current"),
        (keys::last_recovery(), "iprecoveries", "last"),
        (keys::recovered_node(&node), "iprecoveries", "nodes-fn1"),
    ];
    for (key, plural, name) in cases {
        let place = Place::of(&key).unwrap();
        assert_eq!(place.resource.plural, plural, "{key}");
        assert!(name.is_empty() || place.name == name, "{key}: {}", place.name);
    }
    assert_eq!(Place::of(&Key::new("other/key")), None);
    assert_eq!(Place::of(&Key::new("ip")), None);
}

#[test]
fn a_span_of_one_stem_is_selected_by_it() {
    let one = KeySpan::prefix("at/n1/");
    assert_eq!(stems(&one), Some(vec!["n1".to_owned()]));
    let rests = KeySpan::prefix("rest/default/4/a/");
    assert_eq!(stems(&rests), Some(vec!["default-f4-fa".to_owned()]));
    let behind = KeySpan::from_to(Key::new("rest/default/4/a/2026/x").successor(), rests.to);
    assert_eq!(stems(&behind), Some(vec!["default-f4-fa".to_owned()]));
    for whole in [keys::all_leases(), keys::all_attachments(), keys::recovered_nodes(), keys::leases_of_vrf(&name("a"))]
    {
        assert_eq!(stems(&whole), None, "{whole:?}");
    }
    assert!(Stretch::of(&KeySpan::from_to(Key::new("a/"), Key::new("z/"))).is_none());
}

#[test]
fn a_stretch_has_the_names_of_its_span() {
    let stretch = Stretch::of(&keys::all_attachments()).unwrap();
    assert!(stretch.contains("n1-fc1-fnet1-fweb") && !stretch.is_behind("zzz"));
    let node = Stretch::of(&KeySpan::prefix("at/n1/")).unwrap();
    let names = ["n1", "n1-d-fc-fe", "n1-fc1-fnet1-fweb", "n10-fc", "n2-fc"];
    assert_eq!(names.map(|name| node.contains(name)), [false, false, true, false, false]);
    assert_eq!(names.map(|name| node.is_behind(name)), [false, false, false, true, true]);
}

fn spans() -> impl Strategy<Value = Span> {
    let v4 = (any::<u32>(), 0_u32..600).prop_map(|(first, more)| {
        let last = first.saturating_add(more);
        Span::new(IpAddr::V4(first.into()), IpAddr::V4(last.into())).unwrap()
    });
    let v6 = (any::<u128>(), 0_u128..600).prop_map(|(first, more)| {
        let last = first.saturating_add(more);
        Span::new(IpAddr::V6(first.into()), IpAddr::V6(last.into())).unwrap()
    });
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn the_stems_of_a_span_include_that_of_each_address(span in spans(), vrf in "[a-z]([a-z0-9.]{0,6}[a-z0-9])?") {
        let vrf = name(&vrf);
        let Some(selected) = stems(&keys::leases(&vrf, &span)) else {
            // A span over the border of a /16 would have too many, since no octet has three digits above 255.
            prop_assert!(span.family() == Family::V4 && span.numbers().0 >> 16 != span.numbers().1 >> 16, "{:?}", span);
            return Ok(());
        };
        let selected: BTreeSet<String> = selected.into_iter().collect();
        for ip in (0..span.len()).map(|i| address(span.family(), span.numbers().0 + i)) {
            let key = keys::lease(&vrf, ip);
            prop_assert!(selected.contains(&Place::stem(&key).unwrap()), "{} of {:?}", key, selected);
            prop_assert!(Stretch::of(&keys::leases(&vrf, &span)).unwrap().contains(&Place::of(&key).unwrap().name));
        }
    }
}
