//! Recoveries without a backend: what is a sign, case by case; what is written back; random histories with backups.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

mod history;
mod reservations;
mod signs;
mod ways_back;
mod witness;
