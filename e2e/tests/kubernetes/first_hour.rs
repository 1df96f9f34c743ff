//! docs/first-hour.md is true: its commands, in its order, give its output in a cluster like that of `e2e/try`.

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use kube_ipam_e2e::Result;
use kube_ipam_e2e::checkout::root;
use kube_ipam_e2e::kubernetes::{Cluster, Workstation, eventually, on, pod, with_networks};

use crate::doctor::age;
use crate::fixed::annotated;
use crate::shared::{Namespace, has_multus_or_skip, nothing_held};
use crate::workloads::rolled_out;

const OFTEN: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(120);

/// The namespaces and workloads of examples/layered.
const LAYERS: [(&str, &str); 3] = [
    ("layered-database", "statefulset/database"),
    ("layered-web", "deployment/web"),
    ("layered-middle", "deployment/middle"),
];

/// The container for which the page makes an ADD, and no DEL.
const LOST: &str = "lost";

/// What the page says about waiting. Here, leases are aged instead.
const WAIT: &str = "sleep 300";

/// Stands on the page for any number of lines, and of words.
const GAP: [&str; 2] = ["...", "…"];

/// The kubeconfig of `e2e/try`.
const KUBECONFIG: &str = "/tmp/kube-ipam-try/kubeconfig";

/// Something to do on the page.
enum Step<'a> {
    /// Lines of a shell that succeed.
    Script(&'a str),
    /// A command, and what it prints.
    Shown { command: &'a str, lines: Vec<&'a str> },
}

/// The steps between the start and the end of the cluster.
fn steps(page: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let blocks = page.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    for (language, text) in blocks {
        match language {
            "sh" if !text.contains("e2e/try") => steps.push(Step::Script(text)),
            "console" => {
                for shown in text.split("$ ").skip(1) {
                    let mut lines = shown.lines().filter(|line| !line.trim().is_empty());
                    steps.extend(lines.next().map(|command| Step::Shown { command, lines: lines.collect() }));
                }
            }
            _ => {}
        }
    }
    steps
}

/// Whether what is shown fits, where a gap stands for any number of elements.
fn fits<T>(shown: &[T], found: &[T], is_gap: &dyn Fn(&T) -> bool, same: &dyn Fn(&T, &T) -> bool) -> bool {
    match (shown.split_first(), found.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((first, rest)), next) if is_gap(first) => {
            fits(rest, found, is_gap, same) || next.is_some_and(|(_, found)| fits(shown, found, is_gap, same))
        }
        (Some(_), None) => false,
        (Some((first, rest)), Some((next, found))) => same(first, next) && fits(rest, found, is_gap, same),
    }
}

/// A line in words, without what differs from run to run: times, identifiers, nodes and random addresses.
fn words(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_number = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
    let is_unit = |word: &&str| {
        let word = word.trim_end_matches(|c: char| !c.is_alphanumeric()).trim_end_matches('s');
        ["second", "minute", "hour", "day", "time"].contains(&word)
    };
    let mask = |(at, word): (usize, &&str)| -> String {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let differs = [
            is_number(bare) && words.get(at + 1).is_some_and(is_unit),
            bare.ends_with(['s', 'm', 'h', 'd']) && is_number(&bare[..bare.len() - 1]),
            bare.parse::<Timestamp>().is_ok(),
            bare.len() >= 12 && bare.chars().all(|c| c.is_ascii_hexdigit() || c == '-'),
            ["n1", "n2"].contains(&bare),
            bare.starts_with("10.199.") && !bare.starts_with("10.199.0."),
        ];
        match (differs.contains(&true), is_unit(word)) {
            (true, _) => word.replacen(bare, "<>", 1),
            // One of it has no plural.
            (false, true) => word.replacen(bare, bare.trim_end_matches('s'), 1),
            (false, false) => (*word).to_owned(),
        }
    };
    words.iter().enumerate().map(mask).collect()
}

fn is_as_shown(lines: &[&str], found: &str) -> bool {
    let found: Vec<&str> = found.lines().filter(|line| !line.trim().is_empty()).collect();
    fits(lines, &found, &|line| line.trim() == GAP[0], &|shown, found| {
        fits(&words(shown), &words(found), &|word| word == GAP[1], &|shown, found| shown == found)
    })
}

/// Whether a command can be run again until its output is as shown: what it tells of needs its time.
fn only_reads(command: &str) -> bool {
    [" get ", " explain ", " doctor ", " list ", " usage "].iter().any(|verb| command.contains(verb))
}

fn follow(cluster: &Cluster, workstation: &Workstation, step: &Step<'_>) -> Result<()> {
    let kubeconfig = workstation.kubeconfig().display().to_string();
    let run = |command: &str| -> Result<(bool, String)> {
        let output = workstation.run(&format!("{{ {}\n}} 2>&1", command.replace(KUBECONFIG, &kubeconfig)))?;
        let said = String::from_utf8(output.stdout)?;
        Ok((output.status.success(), said.replace(&kubeconfig, KUBECONFIG)))
    };
    match step {
        Step::Script(lines) if lines.trim() == WAIT => age(cluster, LOST),
        Step::Script(lines) => match run(lines)? {
            (true, _) => Ok(()),
            (false, said) => Err(format!("{lines}\n{said}").into()),
        },
        Step::Shown { command, lines } => {
            let mut said = String::new();
            let shows = |said: &mut String| -> Result<Option<()>> {
                *said = run(command)?.1;
                Ok(is_as_shown(lines, said).then_some(()))
            };
            let result = match only_reads(command) {
                true => eventually(command, LONG, OFTEN, || shows(&mut said)),
                false => shows(&mut said)?.ok_or_else(|| "it shows something else".into()),
            };
            result.map_err(|error| format!("docs/first-hour.md: {command}: {error}:\n{said}").into())
        }
    }
}

/// The name of the trial.
pub(crate) const PAGE: &str = "the_first_hour_goes_as_its_page_says";

pub(crate) fn page(cluster: &mut Cluster, _: &Namespace) -> Result<()> {
    if !has_multus_or_skip(cluster, PAGE) {
        return Ok(());
    }
    cluster.apply_example("layered")?;
    for (namespace, workload) in LAYERS {
        rolled_out(cluster, namespace, workload)?;
    }
    // What the tour of e2e/try leaves.
    let [(database, _), ..] = LAYERS;
    let copy = on(with_networks(pod("copy"), "db-net"), "n2");
    cluster.apply(database, &[annotated(copy, "kube-ipam.net1.ip", "10.188.0.218")])?;
    cluster.wait_event(database, "copy", "is held by")?;

    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir()?;
    let workstation = Workstation::new(cluster, folder.path())?;
    let text = fs::read_to_string(root().join("docs/first-hour.md"))?;
    let steps = steps(&text);
    assert!(steps.len() >= 15, "the page has only {} steps", steps.len());
    steps.iter().try_for_each(|step| follow(cluster, &workstation, step))?;

    cluster.delete_pods(database, "copy")?;
    cluster.delete_example("layered")?;
    LAYERS.into_iter().try_for_each(|(namespace, _)| nothing_held(cluster, namespace))
}
