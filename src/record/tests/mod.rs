//! Tests of a node's records, in one process and in several.
#![allow(clippy::unwrap_used, clippy::panic)]

mod processes;
mod sandboxes;

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::file::FileName;
use super::*;
use crate::cause::chain;
use crate::ipam::lease::{AllocationKind, Attachment, Began, Lease, OnRelease, Written};
use crate::store::{EtcdConfig, StoreConfig};

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

fn id(container: &str, ifname: &str, network: &str) -> AttachmentId {
    AttachmentId {
        node: name("node-a"),
        container: name(container),
        ifname: IfName::new(ifname).unwrap(),
        network: name(network),
    }
}

/// A record that is determined by its attachment and a number.
fn record(id: &AttachmentId, number: u64) -> Record {
    let store = StoreConfig::Etcd(EtcdConfig {
        urls: vec![format!("https://192.0.2.{}:2379", number % 250)],
        cert_file: Some("/etc/kube-ipam/client.crt".into()),
        key_file: None,
        ca_file: None,
        username: None,
        password_file: None,
        prefix: "/kube-ipam/v1/".to_owned(),
    });
    let netns = Netns { path: "/run/netns/pod".into(), dev: 4, inode: number };
    let began = Began { boot: "0bca6a5e".to_owned(), boottime: number };
    let vrf = name(&format!("vrf-{number}"));
    let lease = |position: u64| {
        Lease::new(AllocationKind::Fixed, Vec::new(), Timestamp::UNIX_EPOCH, OnRelease::Rest(number + position))
    };
    let leases = (0..number % 40).map(|position| (Ipv4Addr::from_bits(position as u32).into(), lease(position)));
    let held = Written {
        revision: serde_json::from_value((number + 1).into()).unwrap(),
        attachment: Attachment::closed(vrf.clone(), Timestamp::UNIX_EPOCH),
        leases: leases.collect(),
    };
    Record { netns: Some(netns), ..Record::asked(id.clone(), vrf, store, began) }.holding(held)
}

/// The same record before its transaction was answered.
fn asked(held: &Record) -> Record {
    let Record { id, vrf, store, netns, began, .. } = held.clone();
    Record { netns, ..Record::asked(id, vrf, store, began) }
}

/// A record as its file contains it.
fn line(record: &Record) -> Vec<u8> {
    [lease::write(record), b"\n".to_vec()].concat()
}

fn found(record: Record) -> ReadResult {
    ReadResult::Record(Box::new(record))
}

fn releasing(record: Record) -> ReadResult {
    found(Record { state: RecordState::Releasing, ..record })
}

/// The relative paths of all files below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|file| format!("{name}/{file}")));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

#[test]
fn what_was_written_is_read_again() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let id = id("c1", "net1", "db-net");
    let lock = records.lock(&id, soon()).unwrap();
    assert_eq!(records.read(&lock).unwrap(), ReadResult::Missing);

    let held = record(&id, 7);
    let asked = asked(&held);
    records.write(&lock, &asked).unwrap();
    assert_eq!(records.read(&lock).unwrap(), found(asked));
    records.write(&lock, &held).unwrap();
    assert_eq!(records.read(&lock).unwrap(), found(held.clone()));
    records.defer_release(&lock, &held).unwrap();
    assert_eq!(records.read(&lock).unwrap(), releasing(held));
    records.remove(&lock, &PodRef::default()).unwrap();
    assert_eq!(records.read(&lock).unwrap(), ReadResult::Missing);
    records.remove(&lock, &PodRef::default()).unwrap();
}

#[test]
fn a_released_attachment_leaves_no_file() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let id = id("c1", "net1", "db-net");
    let lock = records.lock(&id, soon()).unwrap();
    records.write(&lock, &record(&id, 7)).unwrap();
    assert_eq!(files(folder.path()), ["node-a/c1:net1:db-net.json"]);
    drop(lock);
    assert_eq!(files(folder.path()), ["node-a/c1:net1:db-net.json"]);

    let lock = records.lock(&id, soon()).unwrap();
    records.defer_release(&lock, &record(&id, 7)).unwrap();
    drop(lock);
    assert_eq!(files(folder.path()), ["node-a/marked/c1:net1:db-net.json"]);

    let lock = records.lock(&id, soon()).unwrap();
    records.remove(&lock, &PodRef::default()).unwrap();
    drop(lock);
    assert!(files(folder.path()).is_empty());
}

#[test]
fn only_their_owner_reads_the_files_and_folders() {
    let folder = folder();
    let state_dir = folder.path().join("state");
    let records = Records::new(&state_dir, &name("node-a"));
    let (first, second) = (id("c1", "net1", "db-net"), id("c2", "net1", "db-net"));
    let locks = [records.lock(&first, soon()).unwrap(), records.lock(&second, soon()).unwrap()];
    records.write(&locks[0], &record(&first, 1)).unwrap();
    records.defer_release(&locks[1], &record(&second, 2)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state_dir), 0o700);
    for inside in ["node-a", "node-a/marked"] {
        assert_eq!(mode(&state_dir.join(inside)), 0o700, "{inside}");
    }
    assert_eq!(files(&state_dir).len(), 3);
    for file in files(&state_dir) {
        assert_eq!(mode(&state_dir.join(&file)), 0o600, "{file}");
    }
}

#[test]
fn looking_makes_nothing() {
    let folder = folder();
    let records = Records::new(&folder.path().join("state"), &name("node-a"));
    assert_eq!(records.peek(&id("c1", "net1", "db-net")).unwrap(), ReadResult::Missing);
    assert!(records.deferred_releases(8).unwrap().is_empty());
    assert!(records.all().unwrap().is_empty());
    records.remove_leftovers(8).unwrap();
    assert!(!folder.path().join("state").exists());
}

#[test]
fn fields_of_a_newer_kube_ipam_are_kept() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let id = id("c1", "net1", "db-net");
    let lock = records.lock(&id, soon()).unwrap();
    let mut newer = record(&id, 3);
    newer.unknown.insert("probe".to_owned(), "arp".into());
    records.write(&lock, &newer).unwrap();
    let ReadResult::Record(read) = records.read(&lock).unwrap() else { panic!("no record") };
    records.defer_release(&lock, &read).unwrap();
    assert_eq!(records.read(&lock).unwrap(), releasing(newer));
}

#[test]
fn a_write_that_was_cut_off_leaves_the_state_before_it() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let id = id("c1", "net1", "db-net");
    let lock = records.lock(&id, soon()).unwrap();
    let held = record(&id, 7);
    let asked = asked(&held);
    let path = folder.path().join("node-a/c1:net1:db-net.json");
    let (before, after) = (line(&asked), line(&held));
    for cut in (0..after.len()).step_by(11) {
        fs::write(&path, [&before[..], &after[..cut]].concat()).unwrap();
        assert_eq!(records.read(&lock).unwrap(), found(asked.clone()));
        records.write(&lock, &held).unwrap();
        assert_eq!(records.read(&lock).unwrap(), found(held.clone()));
    }
}

#[test]
fn an_add_repeated_for_ever_does_not_fill_the_disk() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let id = id("c1", "net1", "db-net");
    for number in 0..500 {
        let lock = records.lock(&id, soon()).unwrap();
        records.write(&lock, &record(&id, number)).unwrap();
        assert_eq!(records.read(&lock).unwrap(), found(record(&id, number)));
    }
    assert!(fs::metadata(folder.path().join("node-a/c1:net1:db-net.json")).unwrap().len() < 100_000);
}

/// As after a kill between writing the deferred release and removing the record.
#[test]
fn a_deferred_release_wins_over_the_record_beside_it() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let id = id("c1", "net1", "db-net");
    let lock = records.lock(&id, soon()).unwrap();
    records.defer_release(&lock, &record(&id, 1)).unwrap();
    fs::write(folder.path().join("node-a/c1:net1:db-net.json"), line(&record(&id, 2))).unwrap();
    assert_eq!(records.read(&lock).unwrap(), releasing(record(&id, 1)));
    assert_eq!(records.all().unwrap(), [id]);
    records.remove(&lock, &PodRef::default()).unwrap();
    assert_eq!(records.read(&lock).unwrap(), ReadResult::Missing);
}

#[test]
fn a_new_record_replaces_a_deferred_release() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let id = id("c1", "net1", "db-net");
    let lock = records.lock(&id, soon()).unwrap();
    records.defer_release(&lock, &record(&id, 1)).unwrap();
    records.write(&lock, &record(&id, 2)).unwrap();
    assert_eq!(records.read(&lock).unwrap(), found(record(&id, 2)));
    assert!(records.deferred_releases(8).unwrap().is_empty());
}

#[test]
fn an_unreadable_deferred_release_still_releases_its_record() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let id = id("c1", "net1", "db-net");
    let lock = records.lock(&id, soon()).unwrap();
    records.defer_release(&lock, &record(&id, 1)).unwrap();
    for content in ["", "\0\0"] {
        fs::write(folder.path().join("node-a/marked/c1:net1:db-net.json"), content).unwrap();
        let alone = records.read(&lock).unwrap();
        assert!(
            matches!(alone, ReadResult::Unreadable { why: UnreadableRecord::Torn(_) | UnreadableRecord::Empty, .. }),
            "{alone:?}"
        );
    }
    assert_eq!(records.deferred_releases(8).unwrap(), std::slice::from_ref(&id));
    fs::write(folder.path().join("node-a/c1:net1:db-net.json"), line(&record(&id, 2))).unwrap();
    assert_eq!(records.read(&lock).unwrap(), releasing(record(&id, 2)));
}

#[test]
fn a_file_that_is_no_record_of_the_attachment_is_reported_and_left_alone() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let id = id("c1", "net1", "db-net");
    let lock = records.lock(&id, soon()).unwrap();
    records.write(&lock, &record(&id, 9)).unwrap();
    let path = folder.path().join("node-a/c1:net1:db-net.json");
    let whole = fs::read(&path).unwrap();
    let other = line(&record(&AttachmentId { node: name("node-b"), ..id.clone() }, 9));
    let mut contents: Vec<Vec<u8>> = (1..whole.len()).step_by(7).map(|end| whole[..end].to_vec()).collect();
    contents.extend([vec![0; 4096], vec![0xff; 9], b"{}\n".to_vec(), b"\n".to_vec(), b"{\"v\":2}\n".to_vec(), other]);
    contents.push(format!("{}\n", "[".repeat(100_000)).into_bytes());
    let mut kinds = BTreeSet::new();
    for content in contents {
        fs::write(&path, &content).unwrap();
        let ReadResult::Unreadable { path: reported, why } = records.read(&lock).unwrap() else {
            panic!("{:?} was accepted", String::from_utf8_lossy(&content));
        };
        kinds.insert(match why {
            UnreadableRecord::Torn(_) => "torn",
            UnreadableRecord::Empty => "?",
            UnreadableRecord::Newer(version) => {
                if version == 2 {
                    "newer"
                } else {
                    "?"
                }
            }
            UnreadableRecord::Foreign(id) => {
                if id.node == name("node-b") {
                    "foreign"
                } else {
                    "?"
                }
            }
        });
        assert_eq!(reported, path);
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(records.all().unwrap(), std::slice::from_ref(&id));
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["foreign", "newer", "torn"]);
}

#[test]
fn the_interfaces_of_a_container_are_found_without_their_network() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let long = "n".repeat(250);
    let ids = [
        id("c1", "net1", "db-net"),
        id("c1", "net1", "web-net"),
        id("c1", "net1", &long),
        id("c1", "net2", "db-net"),
        id("c10", "net1", "db-net"),
    ];
    for (number, id) in (0..).zip(&ids) {
        let lock = records.lock(id, soon()).unwrap();
        if number % 2 == 0 {
            records.write(&lock, &record(id, number)).unwrap();
        } else {
            records.defer_release(&lock, &record(id, number)).unwrap();
        }
    }
    let net1 = IfName::new("net1").unwrap();
    let mut expected = ids[..3].to_vec();
    expected.sort();
    assert_eq!(records.find(&name("c1"), &net1).unwrap(), expected);
    assert!(records.find(&name("c2"), &net1).unwrap().is_empty());
    assert_eq!(records.all().unwrap().len(), ids.len());
}

#[test]
fn of_many_deferred_releases_every_one_gets_its_turn() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let ids: BTreeSet<AttachmentId> = (0..20).map(|n| id(&format!("c{n}"), "net1", "db-net")).collect();
    for id in &ids {
        let lock = records.lock(id, soon()).unwrap();
        records.defer_release(&lock, &record(id, 1)).unwrap();
    }
    let mut seen = BTreeSet::new();
    for _ in 0..1000 {
        let some = records.deferred_releases(8).unwrap();
        assert_eq!(some.len(), 8);
        seen.extend(some);
    }
    assert_eq!(seen, ids);
    assert_eq!(records.deferred_releases(100).unwrap().len(), 20);
}

#[test]
fn two_nodes_in_one_folder_do_not_see_each_other() {
    let folder = folder();
    let here = Records::new(folder.path(), &name("node-a"));
    let there = Records::new(folder.path(), &name("node-b"));
    let id_here = id("c1", "net1", "db-net");
    let id_there = AttachmentId { node: name("node-b"), ..id_here.clone() };
    let (lock_here, lock_there) = (here.lock(&id_here, soon()).unwrap(), there.lock(&id_there, soon()).unwrap());
    here.write(&lock_here, &record(&id_here, 1)).unwrap();
    assert_eq!(there.read(&lock_there).unwrap(), ReadResult::Missing);
    there.defer_release(&lock_there, &record(&id_there, 2)).unwrap();
    assert_eq!(here.read(&lock_here).unwrap(), found(record(&id_here, 1)));
    assert!(here.deferred_releases(8).unwrap().is_empty());
    assert_eq!(there.all().unwrap(), [id_there]);
    let (replay_here, replay_there) = (here.replay_lock().unwrap(), there.replay_lock().unwrap());
    assert!(replay_here.is_some() && replay_there.is_some());
}

#[test]
fn an_attachment_is_found_under_another_name_of_its_node() {
    let folder = folder();
    let before = Records::new(folder.path(), &name("old"));
    let old = AttachmentId { node: name("old"), ..id("c1", "net1", "db-net") };
    let lock = before.lock(&old, soon()).unwrap();
    before.write(&lock, &record(&old, 1)).unwrap();
    drop(lock);
    let records = Records::new(folder.path(), &name("node-a"));
    let former = records.clone().with_former_names(&[name("old")]);
    let own = id("c1", "net1", "db-net");
    struct Case<'a> {
        what: &'static str,
        records: &'a Records,
        boot: &'static str,
        is_found: bool,
    }
    let lock = records.lock(&own, soon()).unwrap();
    for Case { what, records, boot, is_found } in [
        // Its ADD began in this boot, so it is this machine's.
        Case { what: "this boot", records: &records, boot: "0bca6a5e", is_found: true },
        Case { what: "another boot", records: &records, boot: "another", is_found: false },
        Case { what: "an unknown boot", records: &records, boot: "", is_found: false },
        Case { what: "another boot, a former name", records: &former, boot: "another", is_found: true },
    ] {
        let expected = is_found.then(|| old.clone());
        assert_eq!(records.find_elsewhere(&lock, boot).unwrap(), expected, "{what}");
        let (located, found) = records.locate(&own, boot).unwrap();
        assert_eq!((located != own, found != ReadResult::Missing), (is_found, is_found), "{what}");
    }
    // Attachments that no call names are searched only in the node's own folders.
    assert_eq!(records.all().unwrap(), std::slice::from_ref(&own));
    assert_eq!(former.all().unwrap(), [own.clone(), old]);
    // A record under the current name takes precedence.
    records.write(&lock, &record(&own, 2)).unwrap();
    assert_eq!(former.locate(&own, "0bca6a5e").unwrap(), (own.clone(), found(record(&own, 2))));
}

#[test]
fn a_long_record_is_shortened_to_its_last_line() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let id = id("c1", "net1", "db-net");
    let lock = records.lock(&id, soon()).unwrap();
    let path = folder.path().join("node-a/c1:net1:db-net.json");
    for end in ["", "\n", "{\"v\":1,\"torn"] {
        fs::write(&path, [line(&record(&id, 1)).repeat(200), end.into()].concat()).unwrap();
        records.write(&lock, &record(&id, 2)).unwrap();
        assert_eq!(records.read(&lock).unwrap(), found(record(&id, 2)));
        assert!(fs::metadata(&path).unwrap().len() <= line(&record(&id, 2)).len() as u64 + 1, "{end:?}");
    }
}

#[test]
fn one_call_at_a_time_has_an_attachment_and_the_next_is_told_whose() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let id = id("c1", "net1", "db-net");
    let lock = records.lock(&id, soon()).unwrap();
    let busy = records.lock(&id, Deadline::after(Duration::from_millis(5))).unwrap_err();
    let this = std::process::id();
    assert!(matches!(busy, RecordError::Busy { process: Some(process), .. } if process == this), "{busy}");
    drop(lock);
    assert!(records.lock(&id, Deadline::after(Duration::ZERO)).is_ok());
}

#[test]
fn the_text_of_a_busy_attachment_says_who_is_at_work_and_how_long_it_was_waited_for() {
    let id = Box::new(id("c1", "net1", "db-net"));
    let busy = |process| RecordError::Busy { id: id.clone(), process, waited: Duration::from_millis(9900) }.to_string();
    let end = "is at work on net1 of container c1 on network db-net (node node-a) and has not ended within 9.9 s";
    assert_eq!(busy(Some(4711)), format!("another call (process 4711) {end}"));
    assert_eq!(busy(None), format!("another call {end}"));
}

#[test]
fn one_call_at_a_time_replays() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let lock = records.replay_lock().unwrap();
    assert!(lock.is_some());
    assert!(records.replay_lock().unwrap().is_none());
    drop(lock);
    assert!(records.replay_lock().unwrap().is_some());
}

#[test]
fn what_a_killed_process_left_is_tidied_and_what_is_in_use_is_not() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let (alive, killed) = (id("c1", "net1", "db-net"), id("c2", "net1", "db-net"));
    let lock = records.lock(&alive, soon()).unwrap();
    let left = ["node-a/c2:net1:db-net.json", "node-a/marked/c2:net1:db-net.json.new"];
    fs::create_dir(folder.path().join("node-a/marked")).unwrap();
    for file in left {
        fs::write(folder.path().join(file), "").unwrap();
    }
    fs::write(folder.path().join("node-a/endpoint.json"), "").unwrap();
    records.remove_leftovers(100).unwrap();
    assert_eq!(files(folder.path()), ["node-a/c1:net1:db-net.json", "node-a/endpoint.json"]);
    records.write(&lock, &record(&alive, 1)).unwrap();
    assert!(records.lock(&killed, Deadline::after(Duration::ZERO)).is_ok());
}

#[test]
fn an_unusable_folder_is_an_error_that_names_it_and_what_to_do() {
    let folder = folder();
    let state_dir = folder.path().join("state");
    fs::write(&state_dir, "a file").unwrap();
    let records = Records::new(&state_dir, &name("node-a"));
    let id = id("c1", "net1", "db-net");
    let errors = [
        records.lock(&id, soon()).unwrap_err(),
        records.peek(&id).unwrap_err(),
        records.deferred_releases(8).unwrap_err(),
    ];
    let texts = errors.map(|error| format!("{}; {}", chain(&error), error.details()));
    let path = state_dir.join("node-a");
    let end = "Not a directory (os error 20); look at that path, or set another `stateDir` in the node defaults";
    assert_eq!(texts[0], format!("can't lock the node's record {}/c1:net1:db-net.json: {end}", path.display()));
    assert_eq!(texts[1], format!("can't read the node's record {}/c1:net1:db-net.json: {end}", path.display()));
    assert_eq!(texts[2], format!("can't list the node's record {}/marked: {end}", path.display()));
}

fn any_id() -> impl Strategy<Value = AttachmentId> {
    let name = "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}".prop_map(|text| Name::new(text).unwrap());
    let ifname = "[^\\s/:\\p{Cc}]{1,5}".prop_filter_map("no interface name", |text| IfName::new(text).ok());
    (name.clone(), ifname, name).prop_map(|(container, ifname, network)| AttachmentId {
        node: super::tests::name("n"),
        container,
        ifname,
        network,
    })
}

proptest! {
    #[test]
    fn a_file_name_fits_the_file_system_and_leads_back_to_its_attachment(id in any_id()) {
        let stem = file::stem(&id);
        let path = file::unfinished(Path::new("/"), &stem);
        prop_assert!(path.file_name().unwrap().len() <= 255);
        let path = file::record(Path::new("/"), &stem);
        let expected = if stem.starts_with("long-") && !stem.contains(':') { FileName::LongName } else { FileName::Attachment(id.clone()) };
        prop_assert_eq!(file::parse_file_name(&id.node, path.file_name().unwrap().to_str().unwrap()), expected);
    }

    #[test]
    fn two_attachments_never_share_a_file_name(one in any_id(), other in any_id()) {
        prop_assume!(one != other);
        prop_assert_ne!(file::stem(&one), file::stem(&other));
    }

    #[test]
    fn no_file_name_makes_the_listing_fail(text in "[^/]{0,60}", suffix in prop_oneof![Just(""), Just(".json"), Just(".json.new")]) {
        let parse_file_name = file::parse_file_name(&name("n"), &format!("{text}{suffix}"));
        if let FileName::Attachment(id) = parse_file_name {
            prop_assert_eq!(format!("{}.json", file::stem(&id)), format!("{text}{suffix}"));
        }
    }
}

#[test]
fn the_last_written_record_comes_first_and_an_update_makes_none_newer() {
    let folder = folder();
    let records = Records::new(folder.path(), &name("node-a"));
    let ids = ["c2", "c1", "c3"].map(|container| id(container, "eth0", "net"));
    for (second, id) in (1..).zip(&ids) {
        let lock = records.lock(id, soon()).unwrap();
        records.write(&lock, &record(id, 1)).unwrap();
        lock.record.file().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
    }
    let newest_first: Vec<AttachmentId> = ids.iter().rev().cloned().collect();
    assert_eq!(records.newest_first().unwrap(), newest_first);
    let lock = records.lock(&ids[0], soon()).unwrap();
    records.update(&lock, &record(&ids[0], 2)).unwrap();
    assert_eq!(records.read(&lock).unwrap(), ReadResult::Record(Box::new(record(&ids[0], 2))));
    assert_eq!(records.newest_first().unwrap(), newest_first);
    records.write(&lock, &record(&ids[0], 3)).unwrap();
    assert_eq!(records.newest_first().unwrap()[0], ids[0]);
}
