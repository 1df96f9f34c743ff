//! Compares kube-ipam with host-local and the floor of each store, and its stores with whereabouts on an API server.
//! Prints the tables of docs/performance.md.
//!
//! ```text
//! main ──► medium      a disk's folder and one in memory, with filled stores
//!   │        └► contender   kube-ipam, host-local, the floors: how each is called
//!   ├────► api         an API server with pods, on which whereabouts is a contender too
//!   ├────► race        contenders in turn, and bursts          (process: one call, timed)
//!   └────► report      tables, ratios, goals
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the tables are the output of this program")]

mod api;
mod contender;
mod medium;
mod pods;
mod process;
mod race;
mod report;
mod usage;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Parser;
use kube_ipam_e2e::{Result, api_server, etcd};

use self::contender::{Contender, Held, Programs, Verb, Who};
use self::medium::{Databases, Medium};
use self::race::{Times, burst, in_turn};
use self::report::{Goals, Measured, floor_of};
use self::usage::Usage;

/// Measures kube-ipam beside host-local and the floor of each store.
#[derive(Parser)]
struct Options {
    /// Rounds of ADD and DEL
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Bursts of each contender
    #[arg(long, default_value_t = 5)]
    bursts: usize,
    /// A folder on a disk
    #[arg(long, default_value = ".")]
    disk: PathBuf,
    /// A folder in memory
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,
    /// The reference plugin, if not HOST_LOCAL names it
    #[arg(long, default_value_os_t = variable("HOST_LOCAL").unwrap_or_else(|| "/usr/lib/cni/host-local".into()))]
    host_local: PathBuf,
    /// Leave etcd out, and with it the API server
    #[arg(long)]
    no_etcd: bool,
    /// Measure on an API server only
    #[arg(long, conflicts_with = "no_etcd")]
    only_api: bool,
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

fn main() -> Result<()> {
    let options = Options::parse();
    let here = std::env::current_exe()?;
    let beside = |name: &str| here.with_file_name(name);
    let programs = Programs {
        kube_ipam: variable("KUBE_IPAM_BIN").unwrap_or_else(|| beside("kube-ipam")),
        host_local: options.host_local.clone(),
        floor_sqlite: beside("floor_sqlite"),
        floor_call: beside("floor_call"),
        floor_etcd: beside("floor_etcd"),
        whereabouts: variable("WHEREABOUTS"),
    };
    let with_etcd = !options.no_etcd && etcd::installed_or_skip("measurements with etcd");
    let memory = Medium::memory(&options.memory)?;
    let disk = Medium::disk(&options.disk)?;
    let programs = programs.installed(&disk.path("programs"))?;
    let databases = Databases::make(&memory)?;
    let mut goals = Goals::new();
    if !options.only_api {
        without_api(&options, [&disk, &memory], &programs, &databases, with_etcd, &mut goals)?;
    }
    if with_etcd && api_server::installed_or_skip("measurements with an API server") {
        on_api(&memory, &programs, &databases, &options, &mut goals)?;
    }
    println!("### Goals\n\n{goals}");
    Ok(())
}

/// The sections of the stores by themselves.
fn without_api(
    options: &Options,
    media: [&Medium; 2],
    programs: &Programs,
    databases: &Databases<'_>,
    with_etcd: bool,
    goals: &mut Goals,
) -> Result<()> {
    let mut usage = Usage::default();
    for medium in media {
        let measured = on_files(medium, programs, databases, options, &mut usage)?;
        println!("### Embedded store on {}\n", medium.label);
        print(&measured);
        embedded_goals(&measured, goals);
    }
    for medium in media {
        if with_etcd {
            let measured = on_etcd(medium, programs, options, &mut usage)?;
            println!("### etcd with its data on {}\n", medium.label);
            print(&measured);
            etcd_goals(&measured, goals);
        }
    }
    usage.binary(&programs.kube_ipam)?;
    println!("### Requests, memory, size\n\n{}", usage.table());
    usage.goals(goals);
    Ok(())
}

fn on_api(
    medium: &Medium,
    programs: &Programs,
    databases: &Databases<'_>,
    options: &Options,
    goals: &mut Goals,
) -> Result<()> {
    let section = api::measure(medium, programs, databases, options.rounds, options.bursts)?;
    println!("### The stores on an API server, all data on {}\n", medium.label);
    if programs.whereabouts.is_none() {
        println!("whereabouts is left out: the variable WHEREABOUTS, the path of its program, is not set.\n");
    }
    println!("{}", section.tables());
    section.goals(goals);
    Ok(())
}

fn print(measured: &Measured) {
    let calls = measured.calls(&[("× floor", floor_of)]);
    println!("{}\n\n{calls}\n{}", measured.syncing(), measured.bursts());
}

fn on_files(
    medium: &Medium,
    programs: &Programs,
    databases: &Databases<'_>,
    options: &Options,
    usage: &mut Usage,
) -> Result<Measured> {
    eprintln!("embedded store on {} …", medium.label);
    let contenders = medium.on_files(programs, databases)?;
    let measured = measure(medium, &contenders, options)?;
    usage.memory(&contenders)?;
    Ok(measured)
}

fn on_etcd(medium: &Medium, programs: &Programs, options: &Options, usage: &mut Usage) -> Result<Measured> {
    eprintln!("etcd on {} …", medium.label);
    let cluster = medium.etcd()?;
    let contenders = medium.on_etcd(programs, &cluster)?;
    let measured = measure(medium, &contenders, options)?;
    usage.memory(&contenders)?;
    usage.requests(&contenders, &cluster)?;
    Ok(measured)
}

fn measure(medium: &Medium, contenders: &[Contender], options: &Options) -> Result<Measured> {
    let fdatasync = medium.fdatasync()?;
    let times = in_turn(contenders, options.rounds)?;
    let mut bursts = BTreeMap::<Who, Vec<_>>::new();
    for number in 0..options.bursts {
        for contender in contenders.iter().filter(|contender| contender.held == Held::Nothing) {
            bursts.entry(contender.who).or_default().push(burst(contender, number)?);
        }
    }
    let bursts = bursts.into_iter().map(|(who, times)| (who, Times::from_iter(times))).collect();
    Ok(Measured { medium: medium.label, fdatasync, times, bursts })
}

fn embedded_goals(measured: &Measured, goals: &mut Goals) {
    let medium = measured.medium;
    let (empty, full) = ((Held::Nothing, Who::Embedded), (Held::Most, Who::Embedded));
    for verb in [Verb::Add, Verb::Del] {
        let name = verb.name();
        let floor = measured.ratio(empty, (Held::Nothing, Who::FloorSqlite), verb);
        goals.want(&format!("embedded {name} on {medium}, × its floor"), 1.25, floor);
        let floor = measured.ratio(empty, (Held::Nothing, Who::FloorCall), verb);
        goals.want(&format!("embedded {name} on {medium}, × the floor of a whole call"), 1.25, floor);
        let own = measured.ratio(full, empty, verb);
        goals.want(&format!("embedded {name} on {medium} with 60,000 held, × its own empty"), 1.2, own);
        if medium == "tmpfs" {
            let host_local = measured.ratio(empty, (Held::Nothing, Who::HostLocal), verb);
            goals.want(&format!("embedded {name} on {medium}, × host-local"), 1.0, host_local);
        }
    }
}

fn etcd_goals(measured: &Measured, goals: &mut Goals) {
    for verb in [Verb::Add, Verb::Del] {
        let floor = measured.ratio((Held::Nothing, Who::Etcd), (Held::Nothing, Who::FloorEtcd), verb);
        goals.want(&format!("{} with etcd on {}, × its floor", verb.name(), measured.medium), 1.5, floor);
    }
}
