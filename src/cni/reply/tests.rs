use serde_json::{Value, json};

use super::super::previous;
use super::super::request::RequestError;
use super::*;

fn dual_stack() -> Vec<Assigned> {
    let assigned = |address: &str, gateway: Option<&str>| Assigned {
        address: address.parse().unwrap(),
        gateway: gateway.map(|ip| ip.parse().unwrap()),
    };
    vec![assigned("10.1.0.5/16", Some("10.1.0.1")), assigned("fd00::5/64", None)]
}

fn routes() -> Vec<Route> {
    serde_json::from_value(json!([
        {"dst": "0.0.0.0/0", "gw": "10.1.0.1"},
        {"dst": "fd01::/48", "gw": "fd00::1", "mtu": 1400, "advmss": 1300, "priority": 10, "table": 100, "scope": 0},
        {"dst": "10.2.0.0/16"},
    ]))
    .unwrap()
}

fn dns() -> Dns {
    serde_json::from_value(
        json!({"nameservers": ["10.1.0.53"], "domain": "db.local", "search": ["local"], "options": ["ndots:2"]}),
    )
    .unwrap()
}

fn shape(version: CniVersion) -> Value {
    serde_json::to_value(Success::new(version, &dual_stack(), &routes(), &dns())).unwrap()
}

fn least(version: CniVersion) -> Value {
    serde_json::to_value(Success::new(version, &dual_stack()[1..], &[], &Dns::default())).unwrap()
}

fn without_version(mut result: Value) -> Value {
    result.as_object_mut().unwrap().remove("cniVersion");
    result
}

#[test]
fn a_result_up_to_0_2_0_has_an_address_a_family_and_its_routes() {
    insta::assert_json_snapshot!(shape(CniVersion::V0_2_0), @r#"
    {
      "cniVersion": "0.2.0",
      "ip4": {
        "ip": "10.1.0.5/16",
        "gateway": "10.1.0.1",
        "routes": [
          {
            "dst": "0.0.0.0/0",
            "gw": "10.1.0.1"
          },
          {
            "dst": "10.2.0.0/16"
          }
        ]
      },
      "ip6": {
        "ip": "fd00::5/64",
        "routes": [
          {
            "dst": "fd01::/48",
            "gw": "fd00::1"
          }
        ]
      },
      "dns": {
        "nameservers": [
          "10.1.0.53"
        ],
        "domain": "db.local",
        "search": [
          "local"
        ],
        "options": [
          "ndots:2"
        ]
      }
    }
    "#);
    insta::assert_json_snapshot!(least(CniVersion::V0_1_0), @r#"
    {
      "cniVersion": "0.1.0",
      "ip6": {
        "ip": "fd00::5/64"
      },
      "dns": {}
    }
    "#);
}

#[test]
fn a_result_from_0_3_0_on_lists_addresses_with_their_family() {
    insta::assert_json_snapshot!(shape(CniVersion::V0_4_0), @r#"
    {
      "cniVersion": "0.4.0",
      "ips": [
        {
          "version": "4",
          "address": "10.1.0.5/16",
          "gateway": "10.1.0.1"
        },
        {
          "version": "6",
          "address": "fd00::5/64"
        }
      ],
      "routes": [
        {
          "dst": "0.0.0.0/0",
          "gw": "10.1.0.1"
        },
        {
          "dst": "fd01::/48",
          "gw": "fd00::1",
          "mtu": 1400,
          "advmss": 1300,
          "priority": 10,
          "table": 100,
          "scope": 0
        },
        {
          "dst": "10.2.0.0/16"
        }
      ],
      "dns": {
        "nameservers": [
          "10.1.0.53"
        ],
        "domain": "db.local",
        "search": [
          "local"
        ],
        "options": [
          "ndots:2"
        ]
      }
    }
    "#);
    insta::assert_json_snapshot!(least(CniVersion::V0_3_0), @r#"
    {
      "cniVersion": "0.3.0",
      "ips": [
        {
          "version": "6",
          "address": "fd00::5/64"
        }
      ],
      "dns": {}
    }
    "#);
}

#[test]
fn a_result_from_1_0_0_on_lists_addresses_and_has_no_empty_dns() {
    insta::assert_json_snapshot!(shape(CniVersion::V1_0_0), @r#"
    {
      "cniVersion": "1.0.0",
      "ips": [
        {
          "address": "10.1.0.5/16",
          "gateway": "10.1.0.1"
        },
        {
          "address": "fd00::5/64"
        }
      ],
      "routes": [
        {
          "dst": "0.0.0.0/0",
          "gw": "10.1.0.1"
        },
        {
          "dst": "fd01::/48",
          "gw": "fd00::1",
          "mtu": 1400,
          "advmss": 1300,
          "priority": 10,
          "table": 100,
          "scope": 0
        },
        {
          "dst": "10.2.0.0/16"
        }
      ],
      "dns": {
        "nameservers": [
          "10.1.0.53"
        ],
        "domain": "db.local",
        "search": [
          "local"
        ],
        "options": [
          "ndots:2"
        ]
      }
    }
    "#);
    insta::assert_json_snapshot!(least(CniVersion::V1_1_0), @r#"
    {
      "cniVersion": "1.1.0",
      "ips": [
        {
          "address": "fd00::5/64"
        }
      ]
    }
    "#);
}

#[test]
fn each_version_names_itself_and_has_the_shape_of_its_group() {
    for version in CniVersion::ALL {
        assert_eq!(shape(version)["cniVersion"], version.as_str());
        let group = match version {
            CniVersion::V0_1_0 | CniVersion::V0_2_0 => CniVersion::V0_2_0,
            CniVersion::V0_3_0 | CniVersion::V0_3_1 | CniVersion::V0_4_0 => CniVersion::V0_4_0,
            CniVersion::V1_0_0 | CniVersion::V1_1_0 => CniVersion::V1_0_0,
        };
        assert_eq!(without_version(shape(version)), without_version(shape(group)));
        assert!(shape(version).get("interfaces").is_none());
    }
}

#[test]
fn a_route_of_a_family_without_an_address_is_left_out_up_to_0_2_0() {
    let (routes, dns) = (routes(), Dns::default());
    let result = Success::new(CniVersion::V0_2_0, &dual_stack()[..1], &routes, &dns);
    insta::assert_json_snapshot!(result, @r#"
    {
      "cniVersion": "0.2.0",
      "ip4": {
        "ip": "10.1.0.5/16",
        "gateway": "10.1.0.1",
        "routes": [
          {
            "dst": "0.0.0.0/0",
            "gw": "10.1.0.1"
          },
          {
            "dst": "10.2.0.0/16"
          }
        ]
      },
      "dns": {}
    }
    "#);
}

#[test]
fn a_failure_names_version_code_message_and_details() {
    let error = RequestError::Missing(vec!["CNI_IFNAME"]);
    let failure = |details: &str| ErrorDocument::new(CniVersion::V0_4_0, error.code(), &error.to_string(), details);
    insta::assert_json_snapshot!(failure(&error.details()), @r#"
    {
      "cniVersion": "0.4.0",
      "code": 4,
      "msg": "required env variables [CNI_IFNAME] missing",
      "details": "the container runtime sets them for every call; see the CNI specification, section 2"
    }
    "#);
    insta::assert_json_snapshot!(failure(""), @r#"
    {
      "cniVersion": "0.4.0",
      "code": 4,
      "msg": "required env variables [CNI_IFNAME] missing"
    }
    "#);
}

#[test]
fn a_failure_repeats_a_bounded_part_of_what_a_caller_sent() {
    let long = "ü".repeat(1 << 20);
    let failure = ErrorDocument::new(CniVersion::NEWEST, Code::CONFIG, &long, &long);
    assert!(serde_json::to_vec(&failure).unwrap().len() < 5 * MAX_TEXT);
    assert!(failure.msg.ends_with("ü…"));
}

#[test]
fn the_previous_result_of_a_later_call_is_read_as_it_was_written() {
    for version in CniVersion::ALL {
        let result = shape(version);
        let read: Result<Vec<_>, _> = previous::addresses(result.as_object().unwrap()).into_iter().collect();
        let written: Vec<_> = dual_stack().iter().map(|assigned| assigned.address).collect();
        assert_eq!(read.unwrap(), written, "{version}");
    }
}

#[test]
fn the_answer_to_version_echoes_what_was_asked_and_lists_what_is_spoken() {
    insta::assert_json_snapshot!(Versions::new(None), @r#"
    {
      "cniVersion": "1.1.0",
      "supportedVersions": [
        "0.1.0",
        "0.2.0",
        "0.3.0",
        "0.3.1",
        "0.4.0",
        "1.0.0",
        "1.1.0"
      ]
    }
    "#);
    assert_eq!(serde_json::to_value(Versions::new(Some("0.4.0".into()))).unwrap()["cniVersion"], "0.4.0");
}
