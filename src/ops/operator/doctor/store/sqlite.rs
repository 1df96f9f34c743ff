//! The files of an embedded store.

use std::path::Path;

use crate::cause::{Cause, chain};
use crate::explain::{Command, Tool};
use crate::ops::operator::doctor::check::{Outcome, Remedy};
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::units::size;
use crate::store::{Integrity, SqliteReport};

/// The size from which a journal was not written by transactions of kube-ipam.
const LARGE_JOURNAL: u64 = 64 << 20;

/// The folder and what was found in it; `None` if it has no database yet.
pub(in crate::ops::operator::doctor) type Inspected = Result<Option<SqliteReport>, Cause>;

/// Whether the database can be opened and used.
pub(super) fn file(folder: &Path, inspected: &Inspected) -> Outcome {
    let subject = Subject::new(folder.display().to_string());
    match inspected {
        Ok(Some(report)) => schema(&subject, report),
        Ok(None) => subject.skipped("there is no database yet; the first ADD creates it"),
        Err(cause) => {
            let remedy = "if it is damaged, restore it from a backup; else correct the owner and mode of its folder";
            subject.error(
                format!("the database can't be read: {}", chain(cause)),
                Remedy::new(remedy).command(look(folder)),
            )
        }
    }
}

fn look(folder: &Path) -> Command {
    Tool::Ls.run(&["-la", &folder.display().to_string()])
}

/// Judges one side of a database that could be read.
pub(super) type Judge = fn(&Subject, &SqliteReport) -> Outcome;

/// Passes a database that could be read to a judge. The check of the file reports any other.
pub(super) fn judged(folder: &Path, inspected: &Inspected, judge: Judge) -> Option<Outcome> {
    let report = inspected.as_ref().ok()?.as_ref()?;
    Some(judge(&Subject::new(folder.display().to_string()), report))
}

fn schema(subject: &Subject, report: &SqliteReport) -> Outcome {
    match report.is_readable {
        true => subject.ok(format!("schema {}, {}", report.schema, size(report.size))),
        false => subject.error(
            format!("a newer kube-ipam has written it (schema {})", report.schema),
            Remedy::new("install that version of kube-ipam on this node"),
        ),
    }
}

pub(super) fn integrity(subject: &Subject, report: &SqliteReport) -> Outcome {
    let database = report.database.display().to_string();
    match &report.integrity {
        Integrity::Intact => subject.ok("SQLite finds no damage"),
        Integrity::Unfinished => subject.skipped_until(
            "the check was ended, because a reader blocks ADD and DEL while it runs",
            commands("run it at a quiet time", [Tool::Sqlite3.run(&["-readonly", &database, "PRAGMA quick_check"])]),
        ),
        Integrity::Damaged(lines) => subject.error(
            format!("the database is damaged: {}", lines.join("; ")),
            commands(
                "restore it from a backup; kube-ipam then writes back what runs on this node. Save what can be read first",
                [Tool::Sqlite3.run(&["-readonly", &database, ".recover"]).redirected("> kube-ipam-recovered.sql")],
            ),
        ),
    }
}

pub(super) fn journal(subject: &Subject, report: &SqliteReport) -> Outcome {
    let database = report.database.display().to_string();
    let wal = report.journals.iter().find(|(path, _)| path.as_os_str().as_encoded_bytes().ends_with(b"-wal"));
    if let Some((path, length)) = wal {
        return subject.warning(
            format!(
                "another program has switched the database to a write-ahead log: {} ({})",
                path.display(),
                size(*length)
            ),
            commands(
                "switch it back while no other program uses it",
                [Tool::Sqlite3.run(&[&database, "PRAGMA journal_mode=PERSIST"])],
            ),
        );
    }
    match report.journals.iter().find(|(_, length)| *length > LARGE_JOURNAL) {
        Some((path, length)) => subject.warning(
            format!("the journal {} has {}", path.display(), size(*length)),
            commands("shorten it", [Tool::Sqlite3.run(&[&database, "PRAGMA journal_mode=TRUNCATE"])]),
        ),
        None => {
            let length = report.journals.iter().map(|(_, length)| *length).max().unwrap_or(0);
            subject.ok(format!("the journal has {}", size(length)))
        }
    }
}

pub(super) fn place(subject: &Subject, report: &SqliteReport) -> Outcome {
    match report.network_file_system {
        None => subject.ok("the folder is on a file system of this machine"),
        Some(kind) => subject.error(
            format!("the folder is on a network file system ({kind}), whose locks SQLite can't rely on: the database may be \
                     damaged, and one address may get two owners"),
            Remedy::new("set dataDir to a folder on a local disk; addresses that several nodes share belong in etcd or in the Kubernetes API"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::operator::doctor::check::Status;

    fn healthy() -> SqliteReport {
        SqliteReport {
            database: "/s/kube-ipam.sqlite3".into(),
            size: 1 << 20,
            unused: 0,
            journals: vec![("/s/kube-ipam.sqlite3-journal".into(), 4096)],
            schema: 1,
            is_readable: true,
            integrity: Integrity::Intact,
            network_file_system: None,
        }
    }

    fn faults(report: SqliteReport) -> Vec<String> {
        let (folder, inspected) = (Path::new("/s"), Ok(Some(report)));
        let judges: [Judge; 3] = [integrity, journal, place];
        let others = judges.into_iter().filter_map(|judge| judged(folder, &inspected, judge));
        let outcomes = std::iter::once(file(folder, &inspected)).chain(others);
        outcomes.filter(|outcome| outcome.status != Status::Ok).map(|outcome| outcome.message).collect()
    }

    #[test]
    fn a_healthy_store_passes_and_each_fault_is_named_alone() {
        assert_eq!(faults(healthy()), [""; 0]);
        let cases = [
            (
                SqliteReport { schema: 2, is_readable: false, ..healthy() },
                "/s: a newer kube-ipam has written it (schema 2)",
            ),
            (
                SqliteReport {
                    integrity: Integrity::Damaged(vec![
                        "Tree 2 page 13: btreeInitPage() returns error code 11".to_owned(),
                    ]),
                    ..healthy()
                },
                "/s: the database is damaged: Tree 2 page 13",
            ),
            (SqliteReport { integrity: Integrity::Unfinished, ..healthy() }, "/s: the check was ended"),
            (
                SqliteReport { journals: vec![("/s/kube-ipam.sqlite3-wal".into(), 0)], ..healthy() },
                "/s: another program has switched",
            ),
            (
                SqliteReport { journals: vec![("/s/kube-ipam.sqlite3-journal".into(), 65 << 20)], ..healthy() },
                "/s: the journal /s/kube-ipam.sqlite3-journal has 65.0 MiB",
            ),
            (
                SqliteReport { network_file_system: Some("NFS"), ..healthy() },
                "/s: the folder is on a network file system (NFS)",
            ),
        ];
        for (report, expected) in cases {
            let found = faults(report);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{expected}: {found:?}");
        }
    }

    #[test]
    fn a_store_that_does_not_exist_is_no_fault_and_one_that_cannot_be_opened_is() {
        let none = file(Path::new("/s"), &Ok(None));
        assert_eq!(none.status, Status::Skipped);
        assert_eq!(judged(Path::new("/s"), &Ok(None), integrity), None);
        let broken = file(Path::new("/s"), &Err(Cause::new("file is not a database")));
        assert_eq!(
            (broken.status, broken.message.as_str()),
            (Status::Error, "/s: the database can't be read: file is not a database")
        );
    }
}
