//! The addresses of `prevResult`, in the format of any version (CNI spec 1.1, section 5).

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::document::{key, kind};
use super::request::RequestError;
use crate::ipam::address;

/// Each address of a result with its prefix length, or what is wrong with it. They are in `ips[].address` since 0.3.0,
/// and in `ip4.ip` and `ip6.ip` before.
pub(super) fn addresses(result: &Map<String, Value>) -> Vec<Result<IpNet, RequestError>> {
    let mut found = match key(result, "ips") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => {
            let path = |index: usize| format!("prevResult.ips[{index}]");
            items.iter().enumerate().map(|(index, item)| member(path(index), item, "address")).collect()
        }
        Some(other) => vec![Err(RequestError::wrong_type("prevResult.ips", "a list", kind(other)))],
    };
    for family in ["ip4", "ip6"] {
        match key(result, family) {
            None | Some(Value::Null) => {}
            Some(config) => found.push(member(format!("prevResult.{family}"), config, "ip")),
        }
    }
    found
}

/// The address under `name` in the object at `path`.
fn member(path: String, config: &Value, name: &str) -> Result<IpNet, RequestError> {
    let Value::Object(config) = config else {
        return Err(RequestError::wrong_type(path, "an object", kind(config)));
    };
    let path = format!("{path}.{name}");
    match key(config, name) {
        Some(Value::String(text)) => {
            address::parse_interface(text).map_err(|source| RequestError::NotAnAddress { key: path, source })
        }
        other => {
            Err(RequestError::wrong_type(path, r#"an address such as "10.1.0.5/16""#, other.map_or("missing", kind)))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(result: Value) -> Result<Vec<String>, String> {
        let found: Result<Vec<_>, _> = addresses(result.as_object().unwrap()).into_iter().collect();
        found.map(|ips| ips.iter().map(IpNet::to_string).collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_addresses_of_every_versions_result_are_found() {
        for (result, expected) in [
            (json!({}), vec![]),
            (json!({"ips": null, "ip4": null}), vec![]),
            (
                json!({"ips": [{"address": "10.1.0.5/16"}, {"address": "FD00::5/64"}]}),
                vec!["10.1.0.5/16", "fd00::5/64"],
            ),
            (json!({"ips": [{"version": "4", "address": "10.1.0.5/16", "gateway": "10.1.0.1"}]}), vec!["10.1.0.5/16"]),
            (json!({"ip4": {"ip": "10.1.0.5/16"}, "ip6": {"ip": "fd00::5/64"}}), vec!["10.1.0.5/16", "fd00::5/64"]),
            (json!({"IPs": [{"Address": "10.1.0.5/16"}]}), vec!["10.1.0.5/16"]),
        ] {
            assert_eq!(of(result.clone()), Ok(expected.iter().map(ToString::to_string).collect()), "{result}");
        }
    }

    #[test]
    fn what_is_no_address_is_named_by_its_place() {
        for (result, expected) in [
            (json!({"ips": {}}), "prevResult.ips must be a list, and is an object"),
            (json!({"ips": [1]}), "prevResult.ips[0] must be an object, and is a number"),
            (
                json!({"ips": [{}]}),
                r#"prevResult.ips[0].address must be an address such as "10.1.0.5/16", and is missing"#,
            ),
            (
                json!({"ips": [{"address": "10.1.0.5/16"}, {"address": "x"}]}),
                "prevResult.ips[1].address is not an address",
            ),
            (json!({"ip4": {"ip": "10.1.0.5"}}), "prevResult.ip4.ip is not an address"),
        ] {
            assert_eq!(of(result.clone()), Err(expected.to_owned()), "{result}");
        }
    }
}
