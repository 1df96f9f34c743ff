//! Runs programs with a wrong wall clock, through libfaketime.

use std::fs;
use std::path::PathBuf;

/// The library that changes a process's wall clock and none of its other clocks.
#[derive(Clone, Debug)]
pub struct Faketime {
    library: PathBuf,
}

impl Faketime {
    /// This machine's library; `None`, with the test reported as skipped, if it is not installed.
    pub fn or_skip(test: &str) -> Option<Self> {
        let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
        let found = libraries.find(|library| library.is_file());
        if found.is_none() {
            crate::skip(test, "libfaketime is not installed (apt-get install libfaketime)");
        }
        found.map(|library| Self { library })
    }

    /// The environment of a program with this wall clock. `+3600s` is an hour ahead.
    pub fn variables(&self, clock: &str) -> [(&'static str, String); 3] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME", clock.to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}
