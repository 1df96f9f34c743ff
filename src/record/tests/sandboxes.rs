//! Tests of the links to the pods' sandboxes.

use super::*;

fn pod(name: &str) -> PodRef {
    let text = |text: &str| Some(text.to_owned());
    PodRef { namespace: text("web"), name: text(name), uid: text("0b4f6a52-3c1d-4b8e-9a53-0f6d8c1f1a11") }
}

/// The locked record of a sandbox.
fn sandbox(records: &Records, id: &AttachmentId) -> Lock {
    let lock = records.lock(id, soon()).unwrap();
    records.write(&lock, &record(id, 1)).unwrap();
    lock
}

/// The targets of a node's links.
fn links(folder: &TempDir) -> Vec<String> {
    let sandboxes = folder.path().join("node-a/sandboxes");
    let mut found: Vec<String> = names(&sandboxes)
        .unwrap()
        .iter()
        .map(|name| fs::read_link(sandboxes.join(name)).unwrap().display().to_string())
        .collect();
    found.sort();
    found
}

#[test]
fn a_later_sandbox_finds_the_one_that_was_linked_last() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let web = pod("web-1");
    let ids = ["c1", "c2", "c3"].map(|container| id(container, "net1", "db-net"));
    let [first, second, third] = ids.each_ref().map(|id| sandbox(&records, id));
    assert_eq!(records.link_sandbox(&first, &web).unwrap(), None);
    assert_eq!(records.link_sandbox(&first, &web).unwrap(), None, "its own ADD, repeated");
    // The earlier sandbox stays linked until the later one has its addresses.
    assert_eq!(records.link_sandbox(&second, &web).unwrap().as_ref(), Some(&ids[0]));
    assert_eq!(records.link_sandbox(&third, &web).unwrap().as_ref(), Some(&ids[0]));
    records.relink_sandbox(&second, &web).unwrap();
    assert_eq!(records.link_sandbox(&third, &web).unwrap().as_ref(), Some(&ids[1]));
    // The removal of an earlier sandbox leaves the later one's link.
    records.remove(&first, &web).unwrap();
    assert_eq!(links(&folder), ["../c2:net1:db-net.json"]);
    records.remove(&second, &web).unwrap();
    assert_eq!(links(&folder), [""; 0]);
    assert_eq!(records.link_sandbox(&third, &web).unwrap(), None);
}

#[test]
fn what_is_another_pod_interface_or_network_has_a_link_of_its_own() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let linked = |id: &AttachmentId, pod: &PodRef| records.link_sandbox(&sandbox(&records, id), pod).unwrap();
    assert_eq!(linked(&id("c1", "net1", "db-net"), &pod("web-1")), None);
    for (id, pod) in [
        (id("c2", "net1", "db-net"), pod("web-2")),
        (id("c3", "net1", "db-net"), PodRef { uid: Some("another".to_owned()), ..pod("web-1") }),
        (id("c4", "net1", "db-net"), PodRef { namespace: Some("another".to_owned()), ..pod("web-1") }),
        (id("c5", "net2", "db-net"), pod("web-1")),
        (id("c6", "net1", "web-net"), pod("web-1")),
    ] {
        assert_eq!(linked(&id, &pod), None, "{id} {pod:?}");
    }
    assert_eq!(links(&folder).len(), 6);
    // podman passes only the name, and some runtimes no UID.
    let nameless =
        [PodRef::default(), PodRef { uid: None, ..pod("web-1") }, PodRef { uid: Some(String::new()), ..pod("web-1") }];
    for pod in nameless {
        assert_eq!(linked(&id("c7", "net1", "db-net"), &pod), None);
    }
    assert_eq!(links(&folder).len(), 6);
}

#[test]
fn a_sandbox_with_long_names_is_found_by_its_record() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let long = id(&"c".repeat(200), "net1", &"n".repeat(100));
    let later = AttachmentId { container: name("c2"), ..long.clone() };
    assert_eq!(records.link_sandbox(&sandbox(&records, &long), &pod("web-1")).unwrap(), None);
    assert_eq!(records.link_sandbox(&sandbox(&records, &later), &pod("web-1")).unwrap(), Some(long));
}

#[test]
fn a_sandbox_that_was_linked_under_another_name_of_its_node_is_found() {
    let folder = folder();
    let former = AttachmentId { node: name("node-a.example"), ..id("c1", "net1", "db-net") };
    let before = Records::new(folder.path(), &former.node);
    assert_eq!(before.link_sandbox(&sandbox(&before, &former), &pod("web-1")).unwrap(), None);
    let records = Records::new(folder.path(), &name("node-a"));
    let later = id("c2", "net1", "db-net");
    assert_eq!(records.link_sandbox(&sandbox(&records, &later), &pod("web-1")).unwrap(), Some(former));
}

#[test]
fn what_a_killed_call_left_of_a_link_is_in_nobody_s_way() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let web = pod("web-1");
    let [first, second] = ["c1", "c2"].map(|container| sandbox(&records, &id(container, "net1", "db-net")));
    records.link_sandbox(&first, &web).unwrap();
    let sandboxes = folder.path().join("node-a/sandboxes");
    let link = sandboxes.join(&names(&sandboxes).unwrap()[0]);
    let leave = || std::os::unix::fs::symlink("../c2:net1:db-net.json", link.with_extension("new")).unwrap();
    leave();
    records.relink_sandbox(&second, &web).unwrap();
    assert_eq!(links(&folder), ["../c2:net1:db-net.json"]);
    // The sandbox that was about to be linked ends.
    records.relink_sandbox(&first, &web).unwrap();
    leave();
    records.remove(&second, &web).unwrap();
    assert_eq!(links(&folder), ["../c1:net1:db-net.json"]);
}

#[test]
fn only_links_that_lead_nowhere_are_removed() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let ids = ["recorded", "marked", "gone"].map(|container| id(container, "net1", "db-net"));
    for id in &ids {
        records.link_sandbox(&sandbox(&records, id), &pod(id.container.as_str())).unwrap();
    }
    let deferred = records.lock(&ids[1], soon()).unwrap();
    records.defer_release(&deferred, &record(&ids[1], 1)).unwrap();
    drop(deferred);
    fs::remove_file(folder.path().join("node-a/gone:net1:db-net.json")).unwrap();
    records.remove_leftovers(100).unwrap();
    assert_eq!(links(&folder), ["../marked:net1:db-net.json", "../recorded:net1:db-net.json"]);
}
