//! `file-modes`: whether others than root can read secrets, or change what kube-ipam reads and writes as root.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::explain::Tool;
use crate::install::PROGRAM;
use crate::ops::cluster::kubeconfig;
use crate::ops::operator::doctor::{Context, Fix, Outcome, Remedy};
use crate::store::StoreConfig;

/// The rights of everybody but the owner.
const OTHERS_READ: u32 = 0o044;
const OTHERS_WRITE: u32 = 0o022;

/// What others may do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sensitivity {
    /// It has a token, a key or a password.
    Secret,
    /// It has addresses and names, which others need not see.
    Private,
    /// Others may read it.
    Public,
}

/// Why a file's mode or owner is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Others can write it, or it belongs to another user.
    Writable,
    Owner(u32),
    /// Others can read a secret.
    Readable,
    /// Others can read names and addresses.
    Visible,
}

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let own = rustix::process::geteuid().as_raw();
    let mut right = 0;
    for (path, sensitivity) in files(context) {
        match fs::metadata(&path) {
            Ok(file) => match fault(file.mode(), file.uid(), own, sensitivity) {
                None => right += 1,
                Some(fault) => report(outcome(&path, &file, fault)),
            },
            // The check that needs the file reports that it is missing.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => {
                let object = path.display().to_string();
                report(Outcome::skipped(&object, format!("{object} can't be looked at ({error}); run doctor as root")));
            }
        }
    }
    report(Outcome::ok(
        "files",
        format!("nobody but root can change {right} files and folders, or read their secrets"),
    ));
}

/// What is looked at, whether or not it exists.
fn files(context: &Context<'_>) -> Vec<(PathBuf, Sensitivity)> {
    let settings = context.node.settings;
    let defaults = &context.options.defaults;
    let mut files = vec![(defaults.clone(), Sensitivity::Public)];
    files.extend(defaults.parent().map(|folder| (folder.to_owned(), Sensitivity::Public)));
    files.extend(kubeconfig(settings).map(|path| (path, Sensitivity::Secret)));
    match &settings.store {
        Ok(StoreConfig::Etcd(etcd)) => {
            let secrets = [&etcd.key_file, &etcd.password_file].into_iter().flatten();
            files.extend(secrets.map(|path| (path.clone(), Sensitivity::Secret)));
            let others = [&etcd.cert_file, &etcd.ca_file].into_iter().flatten();
            files.extend(others.map(|path| (path.clone(), Sensitivity::Public)));
        }
        Ok(StoreConfig::Embedded { data_dir }) => files.push((data_dir.clone(), Sensitivity::Private)),
        // Its kubeconfig is one of the files already.
        Ok(StoreConfig::Kubernetes(_)) | Err(_) => {}
    }
    files.push((context.node.records.folder().to_owned(), Sensitivity::Private));
    files.push((settings.log.file.clone(), Sensitivity::Public));
    files.push((context.options.program_folder.join(PROGRAM), Sensitivity::Public));
    files
}

fn fault(mode: u32, owner: u32, own: u32, sensitivity: Sensitivity) -> Option<Fault> {
    if mode & OTHERS_WRITE != 0 {
        return Some(Fault::Writable);
    }
    // A test or another user's podman runs without root.
    if owner != 0 && owner != own {
        return Some(Fault::Owner(owner));
    }
    match sensitivity {
        Sensitivity::Secret if mode & OTHERS_READ != 0 => Some(Fault::Readable),
        Sensitivity::Private if mode & OTHERS_READ != 0 => Some(Fault::Visible),
        _ => None,
    }
}

fn outcome(path: &Path, file: &fs::Metadata, fault: Fault) -> Outcome {
    let object = path.display().to_string();
    let mode = file.permissions().mode() & 0o7777;
    if let Fault::Owner(owner) = fault {
        return Outcome::error(
            &object,
            format!("{object} belongs to user {owner}, who can change what kube-ipam does as root"),
            Remedy::new("give it to root").command(Tool::Chown.run(&["root:", &object])),
        );
    }
    let right = match fault {
        Fault::Writable | Fault::Owner(_) => mode & !OTHERS_WRITE,
        Fault::Readable | Fault::Visible => mode & 0o700,
    };
    let remedy = Remedy::new("take these rights away").command(Tool::Chmod.run(&[&format!("{right:04o}"), &object]));
    let outcome = match fault {
        Fault::Writable | Fault::Owner(_) => {
            let message =
                format!("{object} has mode {mode:04o}, so others than root can change what kube-ipam does as root");
            Outcome::error(&object, message, remedy)
        }
        Fault::Readable => {
            let message = format!("{object} has mode {mode:04o}, so others than root can read its credentials");
            Outcome::error(&object, message, remedy)
        }
        Fault::Visible => {
            let message = format!("{object} has mode {mode:04o}, so others than root can read pods and addresses");
            Outcome::warning(&object, message, remedy)
        }
    };
    // What a link leads to has the mode.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    outcome.with_fix(Fix::SetMode { path: target, mode: right })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_judged_by_what_the_file_has() {
        use Sensitivity::{Private, Public, Secret};
        for (mode, owner, sensitivity, expected) in [
            (0o100_600, 0, Secret, None),
            (0o100_400, 0, Secret, None),
            (0o100_640, 0, Secret, Some(Fault::Readable)),
            (0o100_604, 0, Secret, Some(Fault::Readable)),
            (0o100_644, 0, Public, None),
            (0o100_664, 0, Public, Some(Fault::Writable)),
            (0o100_602, 0, Secret, Some(Fault::Writable)),
            (0o040_700, 0, Private, None),
            (0o040_755, 0, Private, Some(Fault::Visible)),
            (0o040_711, 0, Private, None),
            (0o040_755, 0, Public, None),
            (0o100_600, 1000, Secret, None),
            (0o100_600, 1001, Secret, Some(Fault::Owner(1001))),
        ] {
            assert_eq!(fault(mode, owner, 1000, sensitivity), expected, "{mode:o} {owner} {sensitivity:?}");
        }
    }
}
