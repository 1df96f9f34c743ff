//! The only way to standard output.
//!
//! A runtime reads one JSON document there. A second one, or a partial one, would lose an address that is already held.
//! So the first document, a reply or the report of a panic, is written with one write, and all others are dropped.
//!
//! If a process starts with its standard output closed, Rust's runtime opens /dev/null in its place, and the reply is
//! lost without an error. A pipe without a reader and a full disk are errors.

use std::io;
use std::os::fd::AsFd;
use std::panic::{self, Location};
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{retry_on_intr, write as write_some};
use serde::Serialize;

use super::reply::ErrorDocument;
use super::{CniVersion, Code};

static STDOUT: Gate = Gate::new();
static REPLY_VERSION: OnceLock<CniVersion> = OnceLock::new();

/// Writes the reply to this call. After an error, the runtime has not received it, and the addresses must be released.
pub fn write(document: &impl Serialize) -> io::Result<()> {
    STDOUT.pass(document, io::stdout())
}

/// Sets the protocol version for the report of a panic. The default is the newest.
pub fn set_reply_version(version: CniVersion) {
    // The version of a call never changes.
    let _ = REPLY_VERSION.set(version);
}

/// Makes a panic in any thread end the process with exit status 1, and with an error document unless one was already
/// written. This works whether panics abort or unwind. The panic is logged to standard error as usual.
#[allow(clippy::exit, reason = "a panic in any thread ends the process with exit status 1")]
pub fn install_panic_hook() {
    let to_stderr = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let version = REPLY_VERSION.get().copied().unwrap_or(CniVersion::NEWEST);
        // If this fails, the exit status still shows the failure.
        let _ = write(&internal_error(version, panic.location()));
        to_stderr(panic);
        process::exit(1);
    }));
}

/// Reports the location of a panic, but not its message, which may contain input.
fn internal_error(version: CniVersion, location: Option<&Location<'_>>) -> ErrorDocument {
    let place = location.map_or_else(|| "an unknown place".to_owned(), Location::to_string);
    let details = concat!(
        "this is a defect of kube-ipam ",
        env!("CARGO_PKG_VERSION"),
        "; please report it with this text at ",
        env!("CARGO_PKG_REPOSITORY"),
        "/issues"
    );
    ErrorDocument::new(version, Code::INTERNAL, &format!("internal error at {place}"), details)
}

/// Passes only one document.
struct Gate {
    passed: AtomicBool,
}

impl Gate {
    const fn new() -> Self {
        Self { passed: AtomicBool::new(false) }
    }

    /// Writes the document to `out` if it is the first one.
    fn pass(&self, document: &impl Serialize, out: impl AsFd) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(document)?;
        bytes.push(b'\n');
        if self.passed.swap(true, Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a document was already written"));
        }
        // Don't use io::stdout(): it writes line by line, and a bad descriptor counts as success. The loop continues
        // writes that a signal or a full pipe has interrupted.
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match retry_on_intr(|| write_some(&out, rest))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => rest = &rest[written..],
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::io::{Read, pipe};
    use std::process::{Command, Stdio};
    use std::sync::Barrier;
    use std::thread;

    use serde_json::{Value, json};

    use super::*;

    /// Set in the process that [`panics_when_told_to`] starts.
    const PANIC_VARIABLE: &str = "KUBE_IPAM_TEST_PANIC";

    #[test]
    fn of_many_documents_one_passes_whole() {
        let (mut reader, writer) = pipe().unwrap();
        let (gate, start) = (Gate::new(), Barrier::new(8));
        let passed = thread::scope(|scope| {
            let all = [0; 8].map(|_| {
                scope.spawn(|| {
                    start.wait();
                    gate.pass(&json!({"a": 1}), &writer).is_ok()
                })
            });
            all.into_iter().map(|one| one.join().unwrap()).filter(|passed| *passed).count()
        });
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((passed, text.as_str()), (1, "{\"a\":1}\n"));
    }

    #[test]
    fn a_document_larger_than_a_pipe_passes_whole() {
        let (mut reader, writer) = pipe().unwrap();
        let long = "x".repeat(1 << 20);
        let read = thread::scope(|scope| {
            let read = scope.spawn(move || {
                let mut text = String::new();
                reader.read_to_string(&mut text).map(|_| text)
            });
            Gate::new().pass(&long, writer).unwrap();
            read.join().unwrap().unwrap()
        });
        assert_eq!(serde_json::from_str::<String>(&read).unwrap(), long);
    }

    #[test]
    fn a_reader_who_is_gone_is_an_error_and_so_is_a_full_disk() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        assert_eq!(Gate::new().pass(&json!({}), writer).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(Gate::new().pass(&json!({}), full).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_panic_is_reported_with_its_place_alone() {
        let told = |location| serde_json::to_value(internal_error(CniVersion::V0_4_0, location)).unwrap();
        let report = told(None).to_string().replace(env!("CARGO_PKG_VERSION"), "<version>");
        insta::assert_snapshot!(report.replace(",\"", ",\n\""), @r#"
        {"cniVersion":"0.4.0",
        "code":100,
        "msg":"internal error at an unknown place",
        "details":"this is a defect of kube-ipam <version>; please report it with this text at https://github.com/cloudnativer/kube-ipam/issues"}
        "#);
        let located = told(Some(Location::caller()));
        assert!(located["msg"].as_str().unwrap().starts_with("internal error at src/cni/gate.rs:"), "{located}");
    }

    #[test]
    fn a_panic_in_a_thread_ends_the_process_with_one_document() {
        let myself = std::env::current_exe().unwrap();
        let mut child = Command::new(myself);
        child.args(["--exact", "cni::gate::tests::panics_when_told_to", "--nocapture", "--test-threads=1"]);
        let output = child.env(PANIC_VARIABLE, "1").stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        // The test harness of the child process writes lines of its own.
        let text = String::from_utf8(output.stdout).unwrap();
        let documents: Vec<Value> = text
            .lines()
            .filter_map(|line| line.find('{').and_then(|start| serde_json::from_str(&line[start..]).ok()))
            .collect();
        assert_eq!(documents.len(), 1, "{text}");
        assert_eq!((&documents[0]["code"], &documents[0]["cniVersion"]), (&json!(100), &json!("1.0.0")));
        assert!(String::from_utf8_lossy(&output.stderr).contains("told to"));
    }

    #[test]
    fn panics_when_told_to() {
        if std::env::var_os(PANIC_VARIABLE).is_some() {
            install_panic_hook();
            set_reply_version(CniVersion::V1_0_0);
            let thread = thread::spawn(|| panic!("told to"));
            let _ = thread.join();
        }
    }
}
