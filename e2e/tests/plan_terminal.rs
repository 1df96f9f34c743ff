//! What a person sees of `kube-ipam plan` on a terminal of 80 and of 200 columns.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::fs;
use std::process::Command;

use kube_ipam_e2e::{binary, pty};

/// A network of both families with pods of every kind of request, one of which is a mistake.
const MANIFESTS: &str = r#"apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: storage-net, namespace: database}
spec:
  config: |
    {
      "cniVersion": "1.0.0", "name": "storage-net", "type": "macvlan", "master": "eth1",
      "ipam": {
        "type": "kube-ipam",
        "pools": {"primary": {"addresses": ["10.188.0.40-10.188.0.42"]}},
        "ranges": [
          [{"subnet": "10.188.0.0/16", "fixedStart": "10.188.0.10", "fixedEnd": "10.188.0.255"}],
          [{"subnet": "fd00:188:0:1::/64", "rangeStart": "fd00:188:0:1::1:0000", "rangeEnd": "fd00:188:0:1:ffff:ffff:ffff:ff00"}]
        ]
      }
    }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: postgres-primary, namespace: database}
spec:
  replicas: 3
  template:
    metadata:
      annotations:
        k8s.v1.cni.cncf.io/networks: storage-net
        kube-ipam.net1.pool: primary
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reporting, namespace: database}
spec:
  replicas: 2
  template:
    metadata:
      annotations:
        k8s.v1.cni.cncf.io/networks: storage-net@reports
        kube-ipam.reports.ip: "10.188.0.300"
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cache, namespace: database}
spec:
  replicas: 20
  template: {metadata: {annotations: {k8s.v1.cni.cncf.io/networks: storage-net}}}
"#;

/// Plans them on a terminal, in a folder of their own.
fn printed(columns: u16, environment: &[(&str, &str)]) -> String {
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    fs::create_dir(folder.path().join("manifests")).unwrap();
    fs::write(folder.path().join("manifests/database.yaml"), MANIFESTS).unwrap();
    let mut command = Command::new(binary::kube_ipam());
    command.args(["plan", "-f", "manifests"]).current_dir(folder.path()).env_clear();
    let printed = pty::run(command.envs(environment.iter().copied()), columns).unwrap();
    assert_eq!(printed.status.code(), Some(1), "{}", printed.text);
    printed.text
}

#[test]
fn a_plan_fits_a_terminal_of_80_columns() {
    let text = printed(80, &[("NO_COLOR", "1")]);
    // The terminal wraps a message, which is a sentence.
    let longest = text.lines().skip_while(|line| !line.starts_with("NETWORK")).map(|line| line.chars().count()).max();
    insta::assert_snapshot!(text, @r#"
    error[KI0401]: the address requested by annotation kube-ipam.reports.ip can't be read: "10.188.0.300" is not an IP address
      --> manifests/database.yaml:38:32
       |
    38 |         kube-ipam.reports.ip: "10.188.0.300"
       |                                ^^^^^^^^^^^^

    NETWORK               RANDOM  TAKEN  UPDATE  LEFT    FIXED
        RANGES
    database/storage-net  65287   20     5       65262   3
        10.188.0.1-10.188.255.254 of 10.188.0.0/16
    database/storage-net  1.8e19  23     5       1.8e19  0
        fd00:188:0:1::1:0-fd00:188:0:1:ffff:ffff:ffff:ff00 of fd00:188:0:1::/64

    WORKLOAD                               PODS  INTERFACE  NETWORK
        GETS
    StatefulSet database/postgres-primary  3     net1       database/storage-net
        10.188.0.40, 10.188.0.41, 10.188.0.42 and any of
        fd00:188:0:1::1:0-fd00:188:0:1:ffff:ffff:ffff:ff00 of fd00:188:0:1::/64, by
        annotation kube-ipam.net1.pool (manifests/database.yaml:27)
    Deployment database/reporting          2     reports    database/storage-net
        nothing, see above
    Deployment database/cache              20    net1       database/storage-net
        any of 10.188.0.1-10.188.255.254 of 10.188.0.0/16 and any of
        fd00:188:0:1::1:0-fd00:188:0:1:ffff:ffff:ffff:ff00 of fd00:188:0:1::/64
    kube-ipam: 1 error
    "#);
    assert!(longest.is_some() && longest <= Some(80), "{longest:?}");
}

#[test]
fn a_plan_takes_the_room_of_200_columns() {
    insta::assert_snapshot!(printed(200, &[("NO_COLOR", "1")]), @r#"
    error[KI0401]: the address requested by annotation kube-ipam.reports.ip can't be read: "10.188.0.300" is not an IP address
      --> manifests/database.yaml:38:32
       |
    38 |         kube-ipam.reports.ip: "10.188.0.300"
       |                                ^^^^^^^^^^^^

    NETWORK               RANGES                                                                   RANDOM  TAKEN  UPDATE  LEFT    FIXED
    database/storage-net  10.188.0.1-10.188.255.254 of 10.188.0.0/16                               65287   20     5       65262   3
    database/storage-net  fd00:188:0:1::1:0-fd00:188:0:1:ffff:ffff:ffff:ff00 of fd00:188:0:1::/64  1.8e19  23     5       1.8e19  0

    WORKLOAD                               PODS  INTERFACE  NETWORK               GETS
    StatefulSet database/postgres-primary  3     net1       database/storage-net  10.188.0.40, 10.188.0.41, 10.188.0.42 and any of fd00:188:0:1::1:0-fd00:188:0:1:ffff:ffff:ffff:ff00 of fd00:188:0:1::/64,
                                                                                  by annotation kube-ipam.net1.pool (manifests/database.yaml:27)
    Deployment database/reporting          2     reports    database/storage-net  nothing, see above
    Deployment database/cache              20    net1       database/storage-net  any of 10.188.0.1-10.188.255.254 of 10.188.0.0/16 and any of fd00:188:0:1::1:0-fd00:188:0:1:ffff:ffff:ffff:ff00 of
                                                                                  fd00:188:0:1::/64
    kube-ipam: 1 error
    "#);
}

#[test]
fn no_width_cuts_an_address() {
    for columns in [1, 20, 40, 60, 100, 120, 150] {
        let text = printed(columns, &[("NO_COLOR", "1")]);
        let tables = text.split("NETWORK").skip(1).collect::<String>();
        for address in ["10.188.0.0/16", "10.188.0.42", "fd00:188:0:1::/64", "10.188.0.1-10.188.255.254"] {
            assert!(tables.split([' ', '\n', ',']).any(|word| word == address), "{columns}: {address}: {text}");
        }
    }
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let escapes = |environment: &[(&str, &str)]| printed(100, environment).contains('\u{1b}');
    assert!(escapes(&[("TERM", "xterm")]));
    assert!(!escapes(&[("TERM", "xterm"), ("NO_COLOR", "1")]));
    assert!(!escapes(&[("TERM", "dumb")]));
    // Set, but to nothing, it says nothing (no-color.org).
    assert!(escapes(&[("TERM", "xterm"), ("NO_COLOR", "")]));
}
