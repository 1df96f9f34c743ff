use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;
use serde_json::json;

use super::super::Code;
use super::*;
use crate::cause::chain;
use crate::ipam::lease::PodRef;

type Env = Vec<(&'static str, &'static str)>;

const TARGET: [(&str, &str); 3] =
    [("CNI_CONTAINERID", "c0ffee"), ("CNI_NETNS", "/run/netns/a"), ("CNI_IFNAME", "net1")];

/// A call with these variables before those of the attachment.
fn env(command: &'static str, more: &[(&'static str, &'static str)]) -> Env {
    [&[("CNI_COMMAND", command)], more, &TARGET].concat()
}

fn read_with(env: &[(&str, &str)], stdin: &[u8]) -> Result<Incoming, Rejection> {
    read(|name| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)), stdin)
}

fn call_with(env: &[(&str, &str)], config: &Value) -> Result<Request, RequestError> {
    match read_with(env, config.to_string().as_bytes()).map_err(|rejection| rejection.error)? {
        Incoming::Call(request) => Ok(*request),
        Incoming::Version { asked } => panic!("VERSION with {asked:?}"),
    }
}

/// A valid config with these keys added.
fn config(more: Value) -> Value {
    let mut config = json!({"cniVersion": "1.1.0", "name": "db-net", "type": "macvlan"});
    config.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    config
}

/// What the runtime shows: code and message on one line, details on the next.
fn told(error: &RequestError) -> String {
    format!("{}: {}\n   {}", error.code().number(), chain(error), error.details())
}

fn refused(env: &[(&str, &str)], config: &Value) -> String {
    told(&call_with(env, config).unwrap_err())
}

#[test]
fn an_add_is_read_whole() {
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=db-0;K8S_POD_UID=u-1;IP=10.1.0.5";
    let config = config(json!({"ipam": {"type": "kube-ipam"}}));
    let request = call_with(&env("ADD", &[("CNI_ARGS", args)]), &config).unwrap();
    let target = Target {
        container: Name::new("c0ffee").unwrap(),
        ifname: IfName::new("net1").unwrap(),
        netns: Some(PathBuf::from("/run/netns/a")),
        pod: PodRef { namespace: Some("prod".into()), name: Some("db-0".into()), uid: Some("u-1".into()) },
    };
    let requested = Some(RequestedAddresses { source: RequestSource::CniArgs, ips: vec!["10.1.0.5".into()] });
    assert_eq!(
        request,
        Request {
            version: CniVersion::V1_1_0,
            network: Name::new("db-net").unwrap(),
            operation: Operation::Add { target, requested, annotations: None },
            config: config.as_object().cloned().unwrap(),
        }
    );
}

#[test]
fn each_verb_says_which_variables_it_misses() {
    let none = json!({});
    for (env, expected) in [
        (vec![], "CNI_COMMAND"),
        (vec![("CNI_COMMAND", "")], "CNI_COMMAND"),
        (vec![("CNI_COMMAND", "ADD")], "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME"),
        (vec![("CNI_COMMAND", "CHECK")], "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME"),
        (vec![("CNI_COMMAND", "DEL")], "CNI_CONTAINERID,CNI_IFNAME"),
        (vec![("CNI_COMMAND", "ADD"), TARGET[0], ("CNI_NETNS", ""), TARGET[2]], "CNI_NETNS"),
    ] {
        let error = call_with(&env, &none).unwrap_err();
        assert_eq!(error.to_string(), format!("required env variables [{expected}] missing"), "{env:?}");
        assert_eq!(error.code(), Code::ENVIRONMENT);
    }
}

#[test]
fn no_verb_needs_cni_path_and_gc_and_status_need_no_variable() {
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        let request = call_with(&env(verb, &[]), &config(json!({"prevResult": {}}))).unwrap();
        assert_eq!(request.operation.verb().as_str(), verb);
        assert_eq!(request.operation.target().is_some(), !matches!(verb, "GC" | "STATUS"));
    }
    for verb in ["GC", "STATUS"] {
        let as_libcni = [("CNI_COMMAND", verb), ("CNI_CONTAINERID", ""), ("CNI_NETNS", ""), ("CNI_IFNAME", "")];
        assert!(call_with(&as_libcni, &config(json!({}))).is_ok());
        assert!(call_with(&as_libcni[..1], &config(json!({}))).is_ok());
    }
}

#[test]
fn a_del_needs_no_namespace() {
    for netns in [&[][..], &[("CNI_NETNS", "")]] {
        let env = [&[("CNI_COMMAND", "DEL"), TARGET[0], TARGET[2]], netns].concat();
        let request = call_with(&env, &config(json!({}))).unwrap();
        assert_eq!(request.operation.target().unwrap().netns, None);
    }
}

#[test]
fn bad_variables_are_refused_before_a_bad_config() {
    let none = json!(null);
    let with = |command, name, value| [&[("CNI_COMMAND", command), (name, value)], &TARGET[..]].concat();
    let errors = [
        refused(&env("UPDATE\n", &[]), &none),
        refused(&env("add", &[]), &none),
        refused(&with("ADD", "CNI_CONTAINERID", "../../etc"), &none),
        refused(&with("DEL", "CNI_IFNAME", "a:b"), &none),
        refused(&with("CHECK", "CNI_IFNAME", "0123456789abcdef"), &none),
        refused(&[("CNI_COMMAND", "ADD"), TARGET[0], TARGET[1]], &none),
    ];
    insta::assert_snapshot!(errors.join("\n"), @r#"
    4: unknown CNI_COMMAND: UPDATE\n
       it is one of ADD, DEL, CHECK, GC, STATUS, VERSION
    4: unknown CNI_COMMAND: add
       it is one of ADD, DEL, CHECK, GC, STATUS, VERSION
    4: invalid CNI_CONTAINERID: "../../etc" is not a valid name: it must start with a letter or digit and go on with letters, digits, '_', '.' and '-'
       the container runtime sets it
    4: invalid CNI_IFNAME: "a:b" is not a valid interface name: it must have 1 to 15 bytes, be neither '.' nor '..', and hold no '/', ':' or white space
       the container runtime sets it; Multus takes it from the pod's k8s.v1.cni.cncf.io/networks
    4: invalid CNI_IFNAME: "0123456789abcdef" is not a valid interface name: it must have 1 to 15 bytes, be neither '.' nor '..', and hold no '/', ':' or white space
       the container runtime sets it; Multus takes it from the pod's k8s.v1.cni.cncf.io/networks
    4: required env variables [CNI_IFNAME] missing
       the container runtime sets them for every call; see the CNI specification, section 2
    "#);
    assert!(read_with(&with("ADD", "CNI_IFNAME", "0123456789abcde"), config(json!({})).to_string().as_bytes()).is_ok());
}

#[test]
fn bytes_that_are_no_text_are_an_error_where_text_is_needed() {
    let read_with_bytes_in = |command: &str, variable: &str| {
        let env = |name: &str| match name {
            _ if name == variable => Some(OsString::from_vec(vec![b'a', 0xff])),
            "CNI_COMMAND" => Some(command.into()),
            _ => TARGET.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()),
        };
        read(env, config(json!({})).to_string().as_bytes()).map_err(|rejection| told(&rejection.error))
    };
    insta::assert_snapshot!(read_with_bytes_in("ADD", "CNI_ARGS").unwrap_err(), @r#"
    4: CNI_ARGS is not valid UTF-8
       the container runtime has set it to bytes that are no text
    "#);
    for variable in ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME"] {
        assert!(read_with_bytes_in("DEL", variable).unwrap_err().starts_with("4: "), "{variable}");
    }
    assert!(read_with_bytes_in("ADD", "CNI_NETNS").is_ok(), "a path is bytes");
    assert!(
        read_with_bytes_in("DEL", "CNI_ARGS").is_ok(),
        "a DEL doesn't fail because of arguments that it can do without"
    );
}

#[test]
fn what_is_no_config_is_refused_with_its_place_and_without_its_content() {
    let refused = |stdin: &[u8]| told(&read_with(&env("ADD", &[]), stdin).unwrap_err().error);
    let errors = [
        refused(b""),
        refused(b"{\"name\": secret}"),
        refused(b"{\"name\": \"a\",\n \"name\": \"b\"}"),
        refused(b"[]"),
        refused(&vec![b'{'; 10_000_000]),
        refused(&vec![b'['; 1000]),
    ];
    insta::assert_snapshot!(errors.join("\n"), @r#"
    6: no network config came on standard input
       the runtime writes the network's config there, a JSON object
    6: the network config on standard input is not valid JSON: expected value at line 1 column 10
       correct the file or definition from which the container runtime, or Multus, reads it
    6: the network config on standard input is not valid JSON: an object has the same key twice at line 2 column 7
       correct the file or definition from which the container runtime, or Multus, reads it
    6: the network config on standard input is not a JSON object
       it is a list
    6: the network config on standard input is larger than 1 MiB
       a network config has some kilobytes; what the runtime has sent is something else
    6: the network config on standard input is not valid JSON: recursion limit exceeded at line 1 column 128
       correct the file or definition from which the container runtime, or Multus, reads it
    "#);
}

#[test]
fn a_stdin_that_fails_is_an_error_of_input() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(5))
        }
    }
    let rejection = read(|name| (name == "CNI_COMMAND").then(|| "GC".into()), Broken).unwrap_err();
    insta::assert_snapshot!(told(&rejection.error), @r#"
    5: error reading the network config from standard input: Input/output error (os error 5)
       the container runtime writes it there
    "#);
}

#[test]
fn a_network_needs_a_valid_name() {
    let refused = |name: Value| refused(&env("ADD", &[]), &config(json!({ "name": name })));
    let errors = [refused(json!(null)), refused(json!("a/b")), refused(json!(7))];
    insta::assert_snapshot!(errors.join("\n"), @r#"
    7: missing network name
       the network's config needs a name, such as "name": "db-net"
    7: invalid network name: "a/b" is not a valid name: it must start with a letter or digit and go on with letters, digits, '_', '.' and '-'
       correct it in the network's config
    7: name must be a string, and is a number
       correct it in the network's config
    "#);
    assert_eq!(refused(json!("")), refused(json!(null)));
    assert_eq!(refused(json!(null)), told(&call_with(&env("ADD", &[]), &json!({})).unwrap_err()));
}

#[test]
fn a_config_without_a_version_is_of_version_0_1_0() {
    for config in
        [json!({"name": "a"}), json!({"name": "a", "cniVersion": ""}), json!({"name": "a", "cniVersion": null})]
    {
        assert_eq!(call_with(&env("ADD", &[]), &config).unwrap().version, CniVersion::V0_1_0);
    }
    for version in CniVersion::ALL {
        let config = json!({"name": "a", "CniVersion": version.as_str()});
        assert_eq!(call_with(&env("ADD", &[]), &config).unwrap().version, version);
    }
}

#[test]
fn a_version_that_is_not_spoken_is_refused_with_both_sides() {
    let refused = |command, version: Value| refused(&env(command, &[]), &config(json!({ "cniVersion": version })));
    let errors = [refused("DEL", json!("9.9.9")), refused("ADD", json!(1.0))];
    insta::assert_snapshot!(errors.join("\n"), @r#"
    1: incompatible CNI versions
       the network's config has cniVersion "9.9.9"; kube-ipam speaks 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0
    7: cniVersion must be a string such as "1.0.0", and is a number
       correct it in the network's config
    "#);
    assert!(refused("ADD", json!("1.0")).starts_with("1: incompatible CNI versions"));
    assert!(refused("ADD", json!("9".repeat(100_000))).len() < 300);
}

#[test]
fn a_verb_that_the_version_does_not_have_is_refused() {
    let refused = |command, version| refused(&env(command, &[]), &config(json!({ "cniVersion": version })));
    let errors = [refused("CHECK", "0.3.1"), refused("GC", "1.0.0"), refused("STATUS", "0.4.0")];
    insta::assert_snapshot!(errors.join("\n"), @r"
    1: config version does not allow CHECK
       
    1: config version does not allow GC
       
    1: config version does not allow STATUS
    ");
    assert!(call_with(&env("CHECK", &[]), &config(json!({"cniVersion": "0.4.0", "prevResult": {}}))).is_ok());
}

#[test]
fn a_rejection_speaks_the_configs_version_where_it_can_be_told() {
    let version = |env: &[(&str, &str)], stdin: &str| read_with(env, stdin.as_bytes()).unwrap_err().version;
    assert_eq!(version(&[("CNI_COMMAND", "ADD")], r#"{"cniVersion": "0.4.0"}"#), CniVersion::V0_4_0);
    assert_eq!(version(&env("ADD", &[]), r#"{"cniVersion": "0.3.1", "name": ""}"#), CniVersion::V0_3_1);
    assert_eq!(version(&env("ADD", &[]), r#"{"cniVersion": "9.9.9", "name": "a"}"#), CniVersion::NEWEST);
    assert_eq!(version(&env("ADD", &[]), "garbage"), CniVersion::NEWEST);
}

#[test]
fn the_config_is_read_to_its_end_also_when_the_environment_is_wrong() {
    let config = vec![b' '; 2 << 20];
    for command in [None, Some("UPDATE"), Some("ADD")] {
        let mut stdin = &config[..];
        assert!(read(|name| command.filter(|_| name == "CNI_COMMAND").map(OsString::from), &mut stdin).is_err());
        assert!(stdin.is_empty(), "{command:?}: a runtime that still writes would get a broken pipe");
    }
}

#[test]
fn version_takes_any_input_and_echoes_what_looks_like_a_version() {
    for (stdin, expected) in [
        ("", None),
        ("garbage", None),
        ("{}", None),
        (r#"{"cniVersion": 1}"#, None),
        (r#"{"cniVersion": ""}"#, None),
        (r#"{"cniVersion": "<script>"}"#, None),
        (r#"{"cniVersion": "0.4.0"}"#, Some("0.4.0")),
        (r#"{"cniVersion": "2.0.0"}"#, Some("2.0.0")),
    ] {
        let incoming = read_with(&[("CNI_COMMAND", "VERSION")], stdin.as_bytes()).unwrap();
        assert_eq!(incoming, Incoming::Version { asked: expected.map(str::to_owned) }, "{stdin}");
    }
}

#[test]
fn an_empty_entry_among_requested_addresses_is_an_error() {
    for (more, at) in [
        (json!({"runtimeConfig": {"ips": [""]}}), "runtimeConfig.ips[0]"),
        (json!({"runtimeConfig": {"ips": ["10.1.0.5", " "]}}), "runtimeConfig.ips[1]"),
        (json!({"args": {"cni": {"ips": [""]}}}), "args.cni.ips[0]"),
    ] {
        let rejection = call_with(&env("ADD", &[("CNI_ARGS", "IP=10.1.0.7")]), &config(more.clone())).unwrap_err();
        assert_eq!((rejection.code(), rejection.to_string()), (Code::CONFIG, format!("{at} is empty")), "{more}");
    }
}

#[test]
fn requested_addresses_come_from_the_first_place_that_names_any() {
    let requested = |args: &'static str, more: Value| {
        let request = call_with(&env("ADD", &[("CNI_ARGS", args)]), &config(more)).unwrap();
        let Operation::Add { requested, .. } = request.operation else { panic!("no ADD") };
        requested.map(|requested| (requested.source, requested.ips.join(" ")))
    };
    let from = |source, ips: &str| Some((source, ips.to_owned()));
    let (runtime, args_cni) = (json!({"ips": ["10.1.0.5/24", "fd00::5"]}), json!({"cni": {"ips": ["10.1.0.6"]}}));
    for (args, more, expected) in [
        ("", json!({}), None),
        ("IP=", json!({"runtimeConfig": {"ips": []}, "args": {"cni": {"ips": null}}}), None),
        ("IP=10.1.0.7,fd00::7", json!({}), from(RequestSource::CniArgs, "10.1.0.7 fd00::7")),
        ("IP=10.1.0.7", json!({"args": args_cni}), from(RequestSource::ArgsCni, "10.1.0.6")),
        (
            "IP=10.1.0.7",
            json!({"args": args_cni, "runtimeConfig": runtime}),
            from(RequestSource::RuntimeConfig, "10.1.0.5/24 fd00::5"),
        ),
        (
            "IP=10.1.0.7",
            json!({"runtimeConfig": {"ips": []}, "args": args_cni}),
            from(RequestSource::ArgsCni, "10.1.0.6"),
        ),
        (
            "IP=10.1.0.7",
            json!({"runtimeConfig": null, "args": {"cni": null}}),
            from(RequestSource::CniArgs, "10.1.0.7"),
        ),
        ("", json!({"RuntimeConfig": {"IPs": ["10.1.0.5"]}}), from(RequestSource::RuntimeConfig, "10.1.0.5")),
    ] {
        assert_eq!(requested(args, more.clone()), expected, "{args} {more}");
    }
}

#[test]
fn requested_addresses_of_the_wrong_type_fail_an_add_and_nothing_else() {
    let bad = [
        json!({"runtimeConfig": {"ips": 10}}),
        json!({"runtimeConfig": {"ips": ["10.1.0.5", 6]}}),
        json!({"args": {"cni": {"ips": "10.1.0.5"}}}),
        json!({"args": {"cni": []}}),
    ];
    let errors = bad.clone().map(|more| refused(&env("ADD", &[]), &config(more)));
    insta::assert_snapshot!(errors.join("\n"), @r#"
    7: runtimeConfig.ips must be a list of addresses such as ["10.1.0.5/16"], and is a number
       the container runtime, or Multus, takes it from the pod's annotations or from the network's config
    7: runtimeConfig.ips[1] must be an address such as "10.1.0.5/16", and is a number
       the container runtime, or Multus, takes it from the pod's annotations or from the network's config
    7: args.cni.ips must be a list of addresses such as ["10.1.0.5/16"], and is a string
       the container runtime, or Multus, takes it from the pod's annotations or from the network's config
    7: args.cni must be an object, and is a list
       the container runtime, or Multus, takes it from the pod's annotations or from the network's config
    "#);
    for mut more in bad {
        more["prevResult"] = json!({});
        for verb in ["DEL", "CHECK", "GC", "STATUS"] {
            assert!(call_with(&env(verb, &[]), &config(more.clone())).is_ok(), "{verb} {more}");
        }
    }
}

#[test]
fn a_check_needs_the_previous_result_and_a_del_does_not_mind_it() {
    let refused = |previous: Value| refused(&env("CHECK", &[]), &config(json!({ "prevResult": previous })));
    let errors = [refused(json!(null)), refused(json!("x")), refused(json!({"ips": [{"address": "10.1.0.5"}]}))];
    insta::assert_snapshot!(errors.join("\n"), @r#"
    7: missing prevResult
       CHECK compares with the result of the ADD, which the runtime has to send
    7: prevResult must be an object, and is a string
       the container runtime writes it
    7: prevResult.ips[0].address is not an address: "10.1.0.5" is not a network in CIDR notation
       the container runtime writes it
    "#);
    assert_eq!(refused(json!(null)), told(&call_with(&env("CHECK", &[]), &config(json!({}))).unwrap_err()));

    for previous in [json!(null), json!("x"), json!({ "ips": 1 }), json!({ "ips": [{ "address": "x" }] })] {
        let request = call_with(&env("DEL", &[]), &config(json!({ "prevResult": previous }))).unwrap();
        assert!(matches!(request.operation, Operation::Del { .. }));
    }
}

fn gc(more: Value) -> Result<Option<Vec<String>>, String> {
    let request = call_with(&[("CNI_COMMAND", "GC")], &config(more)).map_err(|error| told(&error))?;
    let Operation::Gc { valid } = request.operation else { panic!("no GC") };
    Ok(valid.map(|valid| valid.iter().map(|one| format!("{}/{}", one.container, one.ifname)).collect()))
}

#[test]
fn a_gc_without_a_list_is_not_a_gc_with_an_empty_one() {
    let one = |container: &str| json!([{"containerID": container, "ifname": "eth0"}]);
    for (more, expected) in [
        (json!({}), None),
        (json!({"cni.dev/valid-attachments": null}), Some(vec![])),
        (json!({"cni.dev/valid-attachments": []}), Some(vec![])),
        (json!({"cni.dev/attachments": []}), Some(vec![])),
        (json!({"cni.dev/valid-attachments": one("a")}), Some(vec!["a/eth0"])),
        (json!({"cni.dev/attachments": one("b")}), Some(vec!["b/eth0"])),
        (json!({"cni.dev/attachments": one("b"), "cni.dev/valid-attachments": one("a")}), Some(vec!["a/eth0"])),
    ] {
        let expected = expected.map(|list: Vec<&str>| list.into_iter().map(str::to_owned).collect());
        assert_eq!(gc(more.clone()), Ok(expected), "{more}");
    }
}

#[test]
fn a_list_that_can_not_be_read_whole_collects_nothing() {
    let refused = |list: Value| gc(json!({ "cni.dev/valid-attachments": list })).unwrap_err();
    let errors = [
        refused(json!({})),
        refused(json!(["a"])),
        refused(json!([{"containerID": "a", "ifname": "eth0"}, {"containerID": "b"}])),
        refused(json!([{"containerID": "a/b", "ifname": "eth0"}])),
    ];
    insta::assert_snapshot!(errors.join("\n"), @r#"
    7: cni.dev/valid-attachments must be a list of attachments, and is an object
       the container runtime writes it
    7: cni.dev/valid-attachments[0] must be an object, and is a string
       the container runtime writes it
    7: cni.dev/valid-attachments[1].ifname must be a string, and is missing
       the container runtime writes it
    7: cni.dev/valid-attachments[0].containerID is not valid: "a/b" is not a valid name: it must start with a letter or digit and go on with letters, digits, '_', '.' and '-'
       the container runtime writes it
    "#);
}

/// JSON of any shape under the keys that are read.
fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(Value::from("1.1.0")),
        Just(Value::from("10.1.0.5/16")),
    ];
    let keys = prop::sample::select(vec![
        "name",
        "cniVersion",
        "CNIVERSION",
        "runtimeConfig",
        "args",
        "cni",
        "ips",
        "prevResult",
        "ip4",
        "ip",
        "address",
        "cni.dev/valid-attachments",
        "cni.dev/attachments",
        "containerID",
        "ifname",
    ]);
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..6).prop_map(|entries| Value::Object(
                entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

fn any_env() -> impl Strategy<Value = Vec<Option<OsString>>> {
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..24).prop_map(OsString::from_vec),
        prop::sample::select(Verb::ALL.to_vec()).prop_map(|verb| OsString::from(verb.as_str())),
        "[a-z0-9]{1,8}".prop_map(OsString::from),
        "(IP|K8S_POD_NAME|=|;|,|1){0,9}".prop_map(OsString::from),
    ];
    prop::collection::vec(prop::option::weighted(0.9, value), 5)
}

proptest! {
    #[test]
    fn no_environment_and_no_input_is_a_panic(
        values in any_env(),
        verb in prop::option::weighted(0.8, prop::sample::select(Verb::ALL.to_vec())),
        stdin in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..512),
            documents().prop_map(|value| value.to_string().into_bytes()),
            documents()
                .prop_map(|value| config(json!({"prevResult": value.clone(), "args": value})).to_string().into_bytes()),
        ],
    ) {
        let names = ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"];
        let env = |name: &str| {
            let given = names.iter().position(|known| *known == name).and_then(|index| values[index].clone());
            if name == "CNI_COMMAND" { verb.map(|verb| verb.as_str().into()).or(given) } else { given }
        };
        match read(env, &stdin[..]) {
            Ok(Incoming::Call(request)) => prop_assert!(request.version >= request.operation.verb().since()),
            Ok(Incoming::Version { .. }) => {}
            Err(Rejection { error, .. }) => {
                prop_assert!((1..=7).contains(&error.code().number()));
                // The reference library returns this error without details.
                let is_bare = matches!(error, RequestError::VerbTooNew(_));
                prop_assert!(!error.to_string().is_empty() && error.details().is_empty() == is_bare);
            }
        }
    }
}
