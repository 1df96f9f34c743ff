//! Runs each case against kube-ipam and, if it is installed, against host-local. So the reference plugin tests the
//! suite, and the suite shows where the two differ.
//!
//! IPAM_UNDER_TEST names another plugin to run the cases against instead: a path, or the name of a reference plugin.

use std::any::type_name;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use crate::node::{Node, Plugin};

/// What host-local does in a case.
#[derive(Clone, Copy)]
pub enum Reference {
    /// The same as kube-ipam.
    Agrees,
    /// It fails the case, by design or in current versions.
    Differs {
        /// What it does instead.
        how: &'static str,
        /// What the text of the failure contains.
        shows: &'static str,
    },
    /// It does not have the feature.
    Lacks(&'static str),
}

/// Runs a case on fresh machines.
///
/// # Panics
/// If kube-ipam fails it, or if host-local does not behave as expected.
#[track_caller]
pub fn conforms<Case: Fn(&Node)>(reference: Reference, case: Case) {
    let (subject, host_local) = match std::env::var("IPAM_UNDER_TEST") {
        Ok(name) if name == "host-local" => (None, Plugin::installed(&name)),
        Ok(name) => (Some(named(&name)), None),
        Err(_) => (Some(Plugin::kube_ipam()), Plugin::installed("host-local")),
    };
    if let Some(plugin) = subject {
        case(&Node::new(plugin));
    }
    if let Some(plugin) = host_local {
        compare(type_name::<Case>(), reference, || case(&Node::new(plugin)));
    }
}

fn named(name: &str) -> Plugin {
    let by_path = PathBuf::from(name);
    let file_name = by_path.file_name().map(|name| name.to_string_lossy().into_owned());
    match (Plugin::installed(name), file_name) {
        (Some(plugin), _) => plugin,
        (None, Some(name)) if by_path.is_file() => Plugin { name, path: by_path },
        _ => panic!("IPAM_UNDER_TEST={name} is neither a program nor a reference plugin"),
    }
}

/// Compares host-local with the expectation. If a newer version no longer differs, this is only printed.
fn compare(case: &str, reference: Reference, run: impl FnOnce()) {
    // `protocol::helper<protocol::the_test::{{closure}}>::{{closure}}`, or the same without the helper.
    let path = case.split("::{{closure}}").next().unwrap_or(case);
    let test = path.rsplit([':', '<']).next().unwrap_or(path);
    let (how, shows) = match reference {
        Reference::Agrees => return run(),
        Reference::Lacks(what) => return println!("{test}: host-local has no {what}"),
        Reference::Differs { how, shows } => (how, shows),
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(()) => println!("{test}: this host-local no longer differs ({how})"),
        Err(panic) => {
            let failure = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            assert!(failure.contains(shows), "host-local differs otherwise than by \"{shows}\" ({how}): {failure}");
            println!("{test}: host-local {how}");
        }
    }
}
