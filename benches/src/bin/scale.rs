//! Fills an embedded store and an etcd with many addresses, and measures the verbs that read them: time, CPU time and
//! resident memory, as in the table of docs/performance.md.
//!
//! `scale [--count N] [--no-etcd]`
//!
//! An etcd with a million addresses takes 2 GiB and more on disk and in memory. Its quota is raised for that.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table is the output of this program")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use clap::Parser;
use kube_ipam::store::StoreConfig;
use kube_ipam_e2e::api::{Api, NAMESPACE};
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::node::{Node, Plugin};
use kube_ipam_e2e::{Result, crowd};
use serde_json::json;

/// More than etcd's default of 2 GiB.
const QUOTA: &str = "--quota-backend-bytes=17179869184";

/// Fills stores with many addresses, and measures what reads them.
#[derive(Parser)]
struct Options {
    /// How many addresses
    #[arg(long, default_value_t = 1_000_000)]
    count: u32,
    /// Leave etcd out
    #[arg(long)]
    no_etcd: bool,
}

/// The resources that a process has used.
#[derive(Clone, Copy, Default)]
struct Taken {
    seconds: f64,
    cpu_seconds: f64,
    resident_mib: f64,
}

struct Store {
    node: Node,
    api: Api,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let (node, pod, ip) =
        (crowd::node_name(options.count / 2), crowd::pod_name(options.count / 2), crowd::ip(options.count / 2));
    let (pod, ip) = (format!("{NAMESPACE}/{pod}"), ip.to_string());
    let verbs: [&[&str]; 9] = [
        &["list"],
        &["list", "-o", "json"],
        &["list", "--ip", &ip],
        &["list", "--pod", &pod],
        &["list", "--node", &node],
        &["list", "--sort", "node", "--range", "10.64.0.0/16"],
        &["usage"],
        &["usage", "--map", "10.64.0.0/10"],
        &["sweep", "--dry-run"],
    ];
    println!(
        "| of {} addresses | store | seconds | CPU seconds | resident MiB |\n|---|---|---|---|---|",
        options.count
    );
    let machine = Node::new(Plugin::kube_ipam());
    let embedded = StoreConfig::Embedded { data_dir: machine.path("addresses") };
    measure("SQLite", &Store::fill(machine, &embedded, options.count)?, &verbs, options.count)?;
    if !options.no_etcd && etcd::installed_or_skip("measurements with etcd") {
        let cluster = Cluster::plain_with(1, &[QUOTA])?;
        let store = StoreConfig::Etcd(cluster.config());
        measure("etcd", &Store::fill(Node::on_etcd(&cluster.config()), &store, options.count)?, &verbs, options.count)?;
    }
    Ok(())
}

fn measure(name: &str, store: &Store, verbs: &[&[&str]], count: u32) -> Result<()> {
    for args in verbs {
        print(&args.join(" "), name, store.run(args)?);
    }
    for (phase, taken) in store.control(name, count)? {
        print(phase, name, taken);
    }
    Ok(())
}

fn print(what: &str, store: &str, taken: Taken) {
    let Taken { seconds, cpu_seconds, resident_mib } = taken;
    println!("| `{what}` | {store} | {seconds:.2} | {cpu_seconds:.2} | {resident_mib:.0} |");
}

impl Store {
    fn fill(node: Node, config: &StoreConfig, count: u32) -> Result<Self> {
        eprintln!("filling {config} …");
        crowd::store(config, count)?;
        let api = Api::start()?;
        api.has_crowd(count);
        let kubeconfig = api.kubeconfig(&node.path(""))?;
        node.set_defaults(&json!({ "kubeConfig": kubeconfig, "sweep": { "minAge": "0s" } }));
        Ok(Self { node, api })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("KUBE_IPAM_CONFIG", self.node.path("kube-ipam.json"));
        command
    }

    /// Runs a verb to its end under GNU time. Otherwise, this process's own memory would count as the child's.
    fn run(&self, args: &[&str]) -> Result<Taken> {
        let mut command = self.command("/usr/bin/time");
        command.args(["--format", "%e %U %S %M"]).arg(&self.node.plugin().path).args(args);
        let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
        let said = String::from_utf8(output.stderr)?;
        let last = said.lines().last().unwrap_or_default();
        let numbers: Vec<f64> = last.split(' ').filter_map(|number| number.parse().ok()).collect();
        let [seconds, user, system, kib] = numbers.as_slice() else { return Err(format!("{args:?}: {said}").into()) };
        Ok(Taken { seconds: *seconds, cpu_seconds: user + system, resident_mib: kib / 1024.0 })
    }

    /// Runs a controller: its start, its first scan, and another full scan after a deletion.
    fn control(&self, name: &str, count: u32) -> Result<Vec<(&'static str, Taken)>> {
        let mut command = self.command(self.node.plugin().path.to_str().unwrap_or_default());
        command.args(["controller", "--listen", "127.0.0.1:0", "--interval", "1h", "--settle", "1s"]);
        if name == "SQLite" {
            command.arg("--embedded");
        }
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let phases = self.phases(&mut process, count);
        process.kill()?;
        process.wait()?;
        phases
    }

    fn phases(&self, process: &mut Child, count: u32) -> Result<Vec<(&'static str, Taken)>> {
        let mut line = String::new();
        if let Some(out) = process.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let address = line.trim().trim_start_matches("listening on ").to_owned();
        let began = std::time::Instant::now();
        wait(|| Ok(get(&address, "/metrics")?.contains("kube_ipam_sweeps_total{result=\"ok\"} 1")))?;
        let seconds = began.elapsed().as_secs_f64();
        let first = Taken { seconds, ..now(process, "VmHWM:")? };
        let at_rest = Taken { seconds: 0.0, cpu_seconds: 0.0, ..now(process, "VmRSS:")? };
        wait(|| Ok(self.api.watchers("pods") == 1))?;
        let before = now(process, "VmHWM:")?;
        let began = std::time::Instant::now();
        self.api.crowd_loses(count / 3);
        wait(|| Ok(get(&address, "/metrics")?.contains("swept_addresses_total{leak=\"pod_gone\"} 1")))?;
        let after = now(process, "VmRSS:")?;
        let deleted = Taken {
            seconds: began.elapsed().as_secs_f64(),
            cpu_seconds: after.cpu_seconds - before.cpu_seconds,
            resident_mib: after.resident_mib,
        };
        Ok(vec![
            ("controller: full scan", first),
            ("controller: at rest", at_rest),
            ("controller: one deletion, two looks at a node", deleted),
        ])
    }
}

/// The resources that a process has used so far. Its memory is the peak (VmHWM) or the current size (VmRSS).
fn now(process: &Child, memory: &str) -> Result<Taken> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", process.id()));
    let status = read("status")?;
    let kib = status.lines().find_map(|line| line.strip_prefix(memory)?.trim().trim_end_matches(" kB").parse().ok());
    let stat = read("stat")?;
    // proc(5): utime and stime are the twelfth and thirteenth field after the name, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields.iter().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Ok(Taken { seconds: 0.0, cpu_seconds: ticks / 100.0, resident_mib: kib.unwrap_or(0.0) / 1024.0 })
}

fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: here\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn wait(mut is_seen: impl FnMut() -> Result<bool>) -> Result<()> {
    while !is_seen()? {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Ok(())
}
