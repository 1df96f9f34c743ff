//! The stores beside whereabouts on one API server, with every call for a pod.
//!
//! ```text
//! measure ──► level        an API server with its pods, at one fill level
//!    │          └► whereabouts   its resources and its pool
//!    └──────► costs        requests, CPU time, bytes
//! ```
//!
//! The API server of the empty range and that of the full one are two, because a server goes through all objects of a
//! resource when it lists some of them. Both run during the whole race.

mod costs;
mod level;
mod whereabouts;

use std::collections::BTreeMap;
use std::time::Duration;

use kube_ipam_e2e::Result;

use self::costs::Costs;
use self::level::Level;
use crate::contender::{Contender, Held, Programs, Verb, Who};
use crate::medium::{Databases, Medium};
use crate::race::{self, Times};
use crate::report::{Goals, Measured};

/// How often a failed call of a crowd is repeated, as a runtime repeats it. More than any contender should need.
const REPEATS: usize = 20;

/// After this much time in its bursts, a contender skips the remaining ones.
const BURST_PATIENCE: Duration = Duration::from_secs(60);

/// The results of this section.
pub(crate) struct Section {
    measured: Measured,
    costs: Costs,
}

/// Measures all of it, with all data on this medium.
pub(crate) fn measure(
    medium: &Medium,
    programs: &Programs,
    databases: &Databases<'_>,
    rounds: usize,
    bursts: usize,
) -> Result<Section> {
    let etcd = medium.etcd()?;
    let mut containers: Vec<String> = race::round_containers(rounds).chain(costs::counted_containers()).collect();
    let full = Level::start(medium, Held::Most, &containers)?;
    containers.extend((0..bursts).flat_map(race::burst_containers).chain(costs::weighed_containers()));
    let empty = Level::start(medium, Held::Nothing, &containers)?;
    let mut contenders = empty.contenders(medium, programs, databases, &etcd)?;
    let on_empty = contenders.len();
    contenders.extend(full.contenders(medium, programs, databases, &etcd)?);
    let fdatasync = medium.fdatasync()?;
    let times = race::in_turn(&contenders, rounds)?;
    let mut costs = Costs::default();
    let (on_empty, on_full) = contenders.split_at(on_empty);
    let bursts = run_bursts(&empty, on_empty, bursts, &mut costs)?;
    for (level, contenders) in [(&empty, on_empty), (&full, on_full)] {
        contenders.iter().try_for_each(|contender| costs.count_requests(level, contender))?;
    }
    for contender in on_empty {
        costs.weigh(&empty, contender, &etcd)?;
    }
    Ok(Section { measured: Measured { medium: medium.label, fdatasync, times, bursts }, costs })
}

fn run_bursts(
    level: &Level,
    contenders: &[Contender],
    bursts: usize,
    costs: &mut Costs,
) -> Result<BTreeMap<Who, Times>> {
    let mut all = BTreeMap::<Who, Vec<Duration>>::new();
    for number in 0..bursts {
        for contender in contenders {
            let times = all.entry(contender.who).or_default();
            if times.iter().sum::<Duration>() > BURST_PATIENCE {
                continue;
            }
            let before = level.cpu_seconds()?;
            let adds = race::crowd(contender, Verb::Add, number, REPEATS)?;
            costs.add_burst(contender.who, level.cpu_seconds()? - before, adds.repeated);
            race::crowd(contender, Verb::Del, number, REPEATS)?;
            times.push(adds.took);
        }
    }
    Ok(all.into_iter().map(|(who, times)| (who, Times::from_iter(times))).collect())
}

impl Section {
    /// The tables.
    pub(crate) fn tables(&self) -> String {
        let calls = self.measured.calls(&[("× whereabouts", |_| Who::Whereabouts), ("× etcd", |_| Who::Etcd)]);
        let [bursts, requests, costs] =
            [self.measured.bursts(), self.costs.requests_table(), self.costs.addresses_table()];
        format!("{}\n\n{calls}\n{bursts}\n{requests}\n{costs}", self.measured.syncing())
    }

    /// Adds the goals for these results.
    pub(crate) fn goals(&self, goals: &mut Goals) {
        let empty = (Held::Nothing, Who::Kubernetes);
        for verb in [Verb::Add, Verb::Del] {
            let name = verb.name();
            let ratio = |other| self.measured.ratio(empty, (Held::Nothing, other), verb);
            goals.want(&format!("{name} in the API, × whereabouts"), 0.5, ratio(Who::Whereabouts));
            goals.want(&format!("{name} in the API, × our own etcd"), 3.0, ratio(Who::Etcd));
            let own = self.measured.ratio((Held::Most, Who::Kubernetes), empty, verb);
            goals.want(&format!("{name} in the API with 60,000 held, × its own empty"), 1.5, own);
        }
        let crowd = self.measured.burst_ratio(Who::Kubernetes, Who::Whereabouts);
        goals.want("200 ADDs in the API, 16 at a time, × whereabouts", 0.1, crowd);
    }
}
