//! The floor of a call on the embedded store: a process opens kube-ipam's database, commits two rows with full sync,
//! and ends.
//!
//! `floor_sqlite DATABASE put|delete KEY KEY`. It uses the journal mode and syncing of kube-ipam's store.

use std::error::Error;

use kube_ipam_benches::{commit, open};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [database, verb, keys @ ..] = args.as_slice() else {
        return Err("usage: floor_sqlite DATABASE put|delete KEY…".into());
    };
    commit(&open(database)?, verb == "put", keys)?;
    Ok(())
}
