//! When an address passes from its holder to somebody else (invariant 5).
//!
//! ```text
//! both holders ─► Judged::ruling ─┬─► Passes   to a later sandbox of the same pod, or since its pod was shown gone
//!                                 ├─► Stays    and why
//!                                 ├─► Ask ─► what the API server tells of its pod ─► verdict ─► into Judged
//!                                 ├─► AskNode ─► what this node's own record shows of its container ───► into Judged
//!                                 └─► AskJoin ─► what KubeVirt says of both pods ─► into Judged ─► Joins
//! ```
//!
//! Where the network wants it, the wire is asked as well before what passes is used: whoever answers there ([`Heard`])
//! keeps it from passing. Silence permits nothing that the ruling has not.
//!
//! What is shown of a pod stays true: a UID that is gone never comes back, and a pod that has run to its end never runs
//! again. So a verdict is about a pod, and holds for all its addresses; that the pod still is the holder is for the
//! guard of the commit to say.
//!
//! A holder without a pod's full names can be shown gone by its own node alone. That does not stay true: podman starts a
//! container again under its old id. So who judges it keeps the lock of its record until the decision is made.

use std::fmt;

use jiff::Timestamp;

use super::cluster::ClusterIdentity;
use super::lease::{Began, Holder, PodRef};
use super::machine::{JoinError, JoinQuestion};
use super::name::{AttachmentId, IfName};
use super::pod::Pod;
use super::reservation::{Owner, OwnerError};

/// Why a holder has no need of its address any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It is an earlier sandbox of the very pod that asks.
    EarlierSandbox,
    /// The API server knows no pod of that name.
    Gone,
    /// The API server has another pod of that name.
    Replaced,
    /// It has run to its end, and no kubelet starts it again.
    Finished(Phase),
    /// This node has booted since its last ADD.
    EarlierBoot,
    /// Its network namespace is gone from this node.
    NamespaceGone,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EarlierSandbox => f.write_str("its earlier sandbox"),
            Self::Gone => f.write_str("gone"),
            Self::Replaced => f.write_str("replaced"),
            Self::Finished(phase) => write!(f, "finished ({phase})"),
            Self::EarlierBoot => f.write_str("ended: this node has booted since it started"),
            Self::NamespaceGone => f.write_str("ended: its network namespace is gone"),
        }
    }
}

/// Why a holder keeps its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unshown {
    /// Its pod lives, as far as the API server knows.
    Lives(State),
    /// Nobody was asked about its pod.
    NotAsked,
    /// The network's pods are not read, and so not its holders' either.
    NotRead,
    /// The API server did not tell.
    NotTold(String),
    /// It is another interface of the same sandbox.
    SameSandbox,
    /// It is a later sandbox of the same pod, or one of which it can't be told.
    NotEarlier,
    /// It is of another cluster.
    OtherCluster,
    /// It names no cluster: kube-ipam 0.3.0 wrote it on a node whose defaults named none.
    ClusterUnnamed,
    /// This node does not know of which cluster it is, and why.
    ClusterUnknown(String),
    /// The runtime has not named its pod in full.
    NoPod,
    /// It is a container of this node whose network namespace may still exist.
    NamespaceThere,
    /// It is a container of this node, of which the node has no record that can be read.
    NoRecord,
    /// It is a container of this node on which another call is at work.
    AtWork,
    /// A static pod, which its kubelet runs whatever the API server has.
    Static,
    /// It is not alone.
    Shared,
    /// It lives, and is not shown to be a pod of the same virtual machine.
    NotOneMachine(JoinError),
    /// It is shown gone, but what it has is kept for its owner, whose next pod is to have it.
    Kept(Shown, Box<Owner>),
}

impl fmt::Display for Unshown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lives(state) => return write!(f, "the API server reports that pod as {state}"),
            Self::NotOneMachine(error) => return error.fmt(f),
            Self::NotTold(why) => return write!(f, "kube-ipam can't tell whether that pod is gone: {why}"),
            Self::ClusterUnknown(why) => return write!(f, "this node doesn't know its cluster's identity: {why}"),
            Self::NotAsked => "kube-ipam did not check whether that pod is gone",
            Self::NotRead => {
                "kube-ipam did not check whether that pod is gone, because this network does not read pods \
                 (annotations)"
            }
            Self::SameSandbox => "the holder is another interface of the same pod",
            Self::NotEarlier => "the holder is another sandbox of the same pod, and may be the newer one",
            Self::OtherCluster => "the holder is in another cluster, whose pods this cluster's API server doesn't know",
            Self::ClusterUnnamed => "the holder names no cluster, so this API server can't speak for its pod",
            Self::NoPod => {
                "only its own node can tell whether it is gone, because its runtime did not fully identify \
                            its pod"
            }
            Self::NamespaceThere => "its container's network namespace may still exist on this node",
            Self::NoRecord => "this node has no record that shows whether its container is gone",
            Self::AtWork => "another call on this node is working on its container",
            Self::Static => "the holder is a static pod, which its node runs whether or not the API server shows it",
            Self::Shared => "it has several holders",
            Self::Kept(shown, owner) => {
                return write!(
                    f,
                    "that pod is {shown}, but its address is reserved for \
                                                          {owner}"
                );
            }
        })
    }
}

/// The phase of a pod (`status.phase`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// All its containers have ended well.
    Succeeded,
    /// All its containers have ended, and one of them badly.
    Failed,
    /// Anything else: Pending, Running, Unknown, or what a later Kubernetes may add.
    Other(String),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Other(phase) => phase,
        })
    }
}

/// A pod's state, in the words of `kubectl get pods`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Running, Pending, Terminating, …
    pub word: String,
    /// Since when, where the API server says it.
    pub since: Option<Timestamp>,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.since {
            Some(since) => write!(f, "{} since {since:.0}", self.word),
            None => f.write_str(&self.word),
        }
    }
}

/// A pod with what its status says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its metadata.
    pub pod: Pod,
    /// `status.phase`.
    pub phase: Phase,
    /// When its kubelet took it up, or else when it was made.
    pub since: Option<Timestamp>,
    /// When its end was asked for. It may run for long after that, on a node that is lost even for ever.
    pub deleted: Option<Timestamp>,
}

/// What the API server tells of the pod of a holder, by that pod's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// There is none.
    Absent,
    /// There is one.
    Found(Box<Life>),
}

/// Whether what the API server tells shows that this pod needs its addresses no more.
pub fn verdict(holder: &PodRef, told: &Told) -> Result<Shown, Unshown> {
    let uid = holder.uid.as_deref().unwrap_or_default();
    match told {
        // Its mirror pod may be deleted, or not be there yet, while it runs.
        Told::Absent if is_static(uid) => Err(Unshown::Static),
        Told::Absent => Ok(Shown::Gone),
        Told::Found(life) if !life.pod.has_sandbox_of(uid) => match is_static(uid) && !life.pod.is_mirror() {
            true => Err(Unshown::Static),
            false => Ok(Shown::Replaced),
        },
        // The hash of its manifest is the UID of each run of a static pod, and the next may have begun.
        Told::Found(life) if life.phase.is_final() && !is_static(uid) => Ok(Shown::Finished(life.phase.clone())),
        Told::Found(life) => Err(Unshown::Lives(life.state())),
    }
}

/// Whether a UID is a kubelet's hash of a manifest, and not one of the API server's (RFC 9562), which have dashes.
pub(super) fn is_static(uid: &str) -> bool {
    !uid.contains('-')
}

impl Phase {
    fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

impl Life {
    fn state(&self) -> State {
        match self.deleted {
            Some(since) => State { word: "Terminating".to_owned(), since: Some(since) },
            None => State { word: self.phase.to_string(), since: self.since },
        }
    }
}

/// Whether the wire is asked before an address that passes is used (`takeover`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// No: what the API server shows is enough (`api`).
    Never,
    /// Where there is an interface to ask on (`probe`).
    IfPossible,
    /// Yes, and what can't be asked about does not pass (`probe-required`).
    Required,
}

/// What the wire says of an address that is about to pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nobody answers.
    Silence,
    /// Somebody has it, or is about to.
    Answer {
        /// Who.
        mac: Mac,
        /// The interface on which that was heard.
        ifname: IfName,
    },
    /// Nobody could be asked, and why.
    NotAsked(String),
}

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What is to be done about an address that somebody else holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It passes on.
    Passes(Shown),
    /// It does not.
    Stays(Unshown),
    /// That depends on what the API server tells of the holder's pod.
    Ask,
    /// That depends on what its own node shows of the holder's container.
    AskNode,
    /// That depends on whether KubeVirt has both pods as those of one virtual machine.
    AskJoin,
    /// It stays, and both hold it: they are pods of one virtual machine, which migrates.
    Joins,
}

/// What an ADD has to know before it can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the pod of a holder is gone.
    Pod(PodRef),
    /// Whether the container of a holder without a pod's full names is gone, which its own node may know.
    Container(AttachmentId),
    /// Whether the pod that asks and the one of a holder are of one virtual machine.
    Join(Box<JoinQuestion>),
    /// Whether the pod that asks is of the owner that it names.
    Owner(Box<Owner>),
}

/// What a call has learnt from the API server of its cluster, and of containers of its node.
#[derive(Clone, Debug)]
pub struct Judged {
    cluster: ClusterIdentity,
    pods: Vec<(PodRef, Result<Shown, Unshown>)>,
    containers: Vec<(AttachmentId, Result<Shown, Unshown>)>,
    /// By the pod of the holder.
    joins: Vec<(PodRef, Result<(), JoinError>)>,
    owner: Option<Result<(), OwnerError>>,
}

impl Judged {
    /// Nothing yet, and the cluster whose API server may tell something.
    pub fn new(cluster: ClusterIdentity) -> Self {
        Self { cluster, pods: Vec::new(), containers: Vec::new(), joins: Vec::new(), owner: None }
    }

    /// Notes the verdict on a pod.
    pub fn add(&mut self, pod: PodRef, verdict: Result<Shown, Unshown>) {
        self.pods.push((pod, verdict));
    }

    /// Notes what this node shows of a container.
    pub fn add_container(&mut self, id: AttachmentId, verdict: Result<Shown, Unshown>) {
        self.containers.push((id, verdict));
    }

    /// Notes whether the address of this pod may be held together with it.
    pub fn add_join(&mut self, holder: PodRef, verdict: Result<(), JoinError>) {
        self.joins.push((holder, verdict));
    }

    /// Notes whether the pod that asks is of its owner.
    pub fn add_owner(&mut self, verdict: Result<(), OwnerError>) {
        self.owner = Some(verdict);
    }

    /// Whether the pod that asks is of its owner; `None` before that was asked.
    pub fn owner(&self) -> Option<&Result<(), OwnerError>> {
        self.owner.as_ref()
    }

    /// How many questions were answered.
    pub fn len(&self) -> usize {
        self.pods.len() + self.containers.len() + self.joins.len() + usize::from(self.owner.is_some())
    }

    /// Whether none was answered yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether what these hold passes to `own`.
    pub fn ruling(&self, own: &Holder, holders: &[Holder]) -> Ruling {
        let [holder] = holders else { return Ruling::Stays(Unshown::Shared) };
        // Of one pod both are of one node, whatever that is called: a pod never moves.
        let same_pod = is_complete(&holder.pod) && own.pod == holder.pod;
        let same_node = own.id.node == holder.id.node || same_pod;
        if same_node && own.id.container == holder.id.container {
            return Ruling::Stays(Unshown::SameSandbox);
        }
        if !is_complete(&holder.pod) {
            return ruling(&self.containers, &holder.id).unwrap_or(Ruling::AskNode);
        }
        let covered = self.cluster.covers(holder.cluster.as_deref());
        let may_be_one = self.cluster.may_be_one(own.cluster.as_deref(), holder.cluster.as_deref());
        if same_pod && may_be_one && (own.cluster == holder.cluster || covered.is_ok() || is_unmistakable(own, holder))
        {
            return match is_later(&own.began, &holder.began) {
                true => Ruling::Passes(Shown::EarlierSandbox),
                false => Ruling::Stays(Unshown::NotEarlier),
            };
        }
        if let Err(unshown) = covered {
            return Ruling::Stays(unshown);
        }
        ruling(&self.pods, &holder.pod).unwrap_or(Ruling::Ask)
    }
}

/// The ruling by what was learnt of somebody.
fn ruling<T: PartialEq>(learnt: &[(T, Result<Shown, Unshown>)], of: &T) -> Option<Ruling> {
    let (_, verdict) = learnt.iter().find(|(known, _)| known == of)?;
    Some(match verdict {
        Ok(shown) => Ruling::Passes(shown.clone()),
        Err(unshown) => Ruling::Stays(unshown.clone()),
    })
}

impl Judged {
    /// What is to be done about an address with these holders, and which of them it is about. Those that say to be of one
    /// virtual machine with `own` are ruled one by one: who is gone makes room, and with who lives there `own` shares the
    /// address only if KubeVirt says so.
    pub fn among<'holders>(&self, own: &Holder, holders: &'holders [Holder]) -> Option<(&'holders Holder, Ruling)> {
        let first = holders.first()?;
        if !holders.iter().all(|holder| own.may_join(holder)) {
            return Some((first, self.ruling(own, holders)));
        }
        let rulings: Vec<(&Holder, Ruling)> =
            holders.iter().map(|holder| (holder, self.ruling(own, std::slice::from_ref(holder)))).collect();
        let find = |test: fn(&Ruling) -> bool| rulings.iter().find(|(_, ruling)| test(ruling)).cloned();
        // What the pod itself has, by another sandbox, it may go on sharing; about a pod of another cluster nobody can be asked.
        let is_decided = |ruling: &Ruling| {
            matches!(
                ruling,
                Ruling::Passes(Shown::EarlierSandbox)
                    | Ruling::Stays(
                        Unshown::SameSandbox
                            | Unshown::NotEarlier
                            | Unshown::NoPod
                            | Unshown::OtherCluster
                            | Unshown::ClusterUnnamed
                            | Unshown::ClusterUnknown(_)
                    )
            )
        };
        if let Some(decided) =
            find(is_decided).or_else(|| find(|ruling| matches!(ruling, Ruling::Ask | Ruling::AskNode)))
        {
            return Some(decided);
        }
        let is_gone = |ruling: &Ruling| matches!(ruling, Ruling::Passes(_));
        let mut living = rulings.iter().filter(|(_, ruling)| !is_gone(ruling)).map(|(holder, _)| *holder);
        let Some(partner) = living.next() else { return find(is_gone) };
        if living.next().is_some() {
            return Some((partner, Ruling::Stays(Unshown::Shared)));
        }
        Some(match self.joins.iter().find(|(pod, _)| *pod == partner.pod) {
            None => (partner, Ruling::AskJoin),
            Some((_, Err(error))) => (partner, Ruling::Stays(Unshown::NotOneMachine(error.clone()))),
            Some((_, Ok(()))) => find(is_gone).unwrap_or((partner, Ruling::Joins)),
        })
    }
}

pub(crate) fn is_complete(pod: &PodRef) -> bool {
    pod.full_name().is_some()
}

/// Whether two sandboxes of a node are of one pod, if only one of them says of which cluster it is. A UID of the API server's
/// is that of one pod in the world. A kubelet's hash of a manifest may be in two clusters whose nodes have one name, unless
/// both began in one boot, and so on one machine.
fn is_unmistakable(own: &Holder, other: &Holder) -> bool {
    let is_unique = !is_static(own.pod.uid.as_deref().unwrap_or_default());
    is_unique || !own.began.boot.is_empty() && own.began.boot == other.began.boot
}

/// Whether an ADD of this boot of the node began after another one of that node. A boot of which nothing is known is not
/// another boot.
fn is_later(own: &Began, other: &Began) -> bool {
    let known = !own.boot.is_empty() && !other.boot.is_empty();
    known && (own.boot != other.boot || own.boottime > other.boottime)
}

/// Whether an ADD began after another one of the same boot of its node. Of two boots neither says which came first: that
/// is known only to who runs in the later one.
pub(super) fn is_later_in_its_boot(own: &Began, other: &Began) -> bool {
    own.boot == other.boot && is_later(own, other)
}

#[cfg(test)]
mod tests;
