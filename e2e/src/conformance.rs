//! One suite for two programs: each case runs against kube-ipam and, where it is installed, against host-local, so that
//! the reference tests the suite, and the suite says where the two differ.
//!
//! IPAM_UNDER_TEST names another plugin (a path, or a name among the reference plugins) to run the cases against alone.

use std::any::type_name;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use crate::node::{Node, Plugin};

/// How host-local fares in a case.
#[derive(Clone, Copy)]
pub enum Reference {
    /// As kube-ipam does.
    Agrees,
    /// It fails the case, by design or in the versions that are about.
    Differs {
        /// What it does instead.
        how: &'static str,
        /// What its failure of the case shows.
        shows: &'static str,
    },
    /// The case is about something that it does not have.
    Lacks(&'static str),
}

/// Runs a case on machines of its own.
///
/// # Panics
/// If kube-ipam fails it, or if host-local does not do what the case expects of it.
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

/// Compares the reference with what the case expects of it. A difference that its newer versions no longer have is only
/// printed.
fn compare(case: &str, reference: Reference, run: impl FnOnce()) {
    // `protocol::helper<protocol::the_test::{{closure}}>::{{closure}}`, or without the helper around it.
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
