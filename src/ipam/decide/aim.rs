//! One certain address: free, at rest, or held by somebody from whom it may pass.
//!
//! ```text
//!  Ready ──► tried ──► what stood in the way is read
//!    ▲                   │ free or at rest ──────────────────────────────────────────► Ready
//!    │                   │ held ─► ruling ─┬─ passes ──► Unread ─► the holder's entry ► Ready
//!    │                   │                 ├─ ask ─────► Question, until there is a verdict
//!    │                   │                 └─ stays ───► Refused
//!    └───────────────────┘
//! ```
//!
//! An address that somebody may have only if it is its own ([`Aim::at_own`]) is read before anything is tried.
//!
//! A lease that changes in between has a new revision: the guard of the commit fails, and all of this begins again.

use std::net::IpAddr;

use jiff::Timestamp;

use super::Terms;
use super::amend::Amendment;
use super::last_look::Met;
use super::seek::{Candidate, Standing, key_of_rest};
use crate::ipam::claim::ClaimError;
use crate::ipam::lease::{Attachment, Holder, Lease, Stored};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::{Judged, Ruling, Shown, Unshown};
use crate::store::keys;
use crate::store::{Answer, Entry, Guard, Op, Revision};

/// What a decision about an address depends on, besides the store.
pub(super) struct Known<'a> {
    pub(super) own: &'a Holder,
    pub(super) terms: &'a Terms,
    pub(super) judged: &'a Judged,
    pub(super) now: Timestamp,
}

/// An address that passes from its holder.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Passing {
    /// The revision of the lease that names the holder.
    pub(super) revision: Revision,
    pub(super) holder: Holder,
    pub(super) shown: Shown,
    /// The lease as it was read.
    pub(super) lease: Box<Lease>,
    /// The lease of those who go on holding it.
    pub(super) others: Option<Box<Lease>>,
    /// The holder's entry, which is to be rewritten; `None` if there is none.
    pub(super) entry: Option<(Revision, Attachment)>,
}

impl Passing {
    /// The guard under which its holder's entry is as it was read.
    pub(super) fn guard(&self) -> Guard {
        let key = keys::attachment(&self.holder.id);
        match &self.entry {
            Some((revision, _)) => Guard::Unchanged(key, *revision),
            None => Guard::Absent(key),
        }
    }
}

/// A holder of whom it is not known whether the address may pass from it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Question {
    ip: IpAddr,
    revision: Revision,
    pub(super) holder: Holder,
    since: Timestamp,
    lease: Lease,
}

#[derive(Clone, Debug)]
enum State {
    Ready,
    /// The lease, or the holder's entry, is to be read.
    Unread,
    Question(Box<Question>),
    Refused(Refusal),
}

/// One certain address, and how it stands.
#[derive(Clone, Debug)]
pub(super) struct Aim {
    candidate: Candidate,
    state: State,
    /// Who probably holds it, of which nothing is read yet.
    expected: Option<AttachmentId>,
    /// Whose entry was asked for along with the lease.
    asked: Option<AttachmentId>,
    /// Whether it is to be had only as what its owner has already.
    only_own: bool,
    /// Whether its lease is known to be neither of the owner who asks nor of a machine of its own.
    foreign: bool,
    /// What is to be written of its lease before it is refused, since a time in it lies ahead.
    ahead: Option<Amendment>,
}

impl Aim {
    /// An address of which nothing is known yet.
    pub(super) fn at(ip: IpAddr) -> Self {
        let (candidate, state) = (Candidate::fresh(ip), State::Ready);
        Self { candidate, state, expected: None, asked: None, only_own: false, foreign: false, ahead: None }
    }

    /// An address that can be had only as what its owner has already.
    pub(super) fn at_own(ip: IpAddr) -> Self {
        Self { state: State::Unread, only_own: true, ..Self::at(ip) }
    }

    /// An address that this attachment may hold, whose entry is read along with the lease.
    pub(super) fn at_held_by(ip: IpAddr, holder: AttachmentId) -> Self {
        Self { state: State::Unread, expected: Some(holder), ..Self::at(ip) }
    }

    /// An address of which the lease was read.
    pub(super) fn of(met: Met, known: &Known<'_>) -> Self {
        let mut aim = Self::at(met.ip);
        aim.weigh(Some((met.revision, met.lease)), known);
        aim
    }

    pub(super) fn ip(&self) -> IpAddr {
        self.candidate.ip
    }

    /// The address with the guard under which it can be had, as far as that is known.
    pub(super) fn candidate(&self) -> Option<&Candidate> {
        matches!(self.state, State::Ready).then_some(&self.candidate)
    }

    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match &self.state {
            State::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Gives it up.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.state = State::Refused(refusal);
    }

    pub(super) fn question(&self) -> Option<&Question> {
        match &self.state {
            State::Question(question) => Some(question),
            _ => None,
        }
    }

    /// Whether somebody else has it, who is not shown gone.
    pub(super) fn is_of_another_owner(&self) -> bool {
        self.foreign && !matches!(self.state, State::Ready | State::Unread)
    }

    /// Whether it may pass from its holder, or that is not known yet, or it has become free. To hold it together with others is
    /// no such thing.
    pub(super) fn may_pass(&self) -> bool {
        let is_free_or_passes = matches!(self.candidate.standing, Standing::Unknown | Standing::Passing(_));
        self.question().is_some() || is_free_or_passes && self.refusal().is_none()
    }

    /// From whom it passes.
    pub(super) fn passing(&self) -> Option<&Passing> {
        self.candidate.passing()
    }

    /// What is to be written of its lease before it is refused.
    pub(super) fn take_ahead(&mut self) -> Option<Amendment> {
        self.ahead.take()
    }

    /// Whether it passes from an earlier sandbox of the pod.
    pub(super) fn is_from_an_earlier_sandbox(&self) -> bool {
        matches!(&self.candidate.standing, Standing::Passing(passing) if passing.shown == Shown::EarlierSandbox)
    }

    pub(super) fn reads(&mut self, vrf: &Name) -> Vec<Op> {
        self.asked = match &self.candidate.standing {
            Standing::Passing(passing) => Some(passing.holder.id.clone()),
            _ => self.expected.take(),
        };
        let entry = self.asked.as_ref().map(|id| Op::Get(keys::attachment(id)));
        [Op::Get(keys::lease(vrf, self.candidate.ip))].into_iter().chain(entry).collect()
    }

    pub(super) fn awaited(&self) -> usize {
        1 + usize::from(self.asked.is_some())
    }

    /// Takes in what [`Aim::reads`] asked for.
    pub(super) fn learn(&mut self, answers: &[Answer], known: &Known<'_>) {
        let asked = self.asked.take();
        let (lease, entry) = match answers {
            [Answer::Entry(lease)] => (lease.as_ref(), None),
            [Answer::Entry(lease), Answer::Entry(entry)] => (lease.as_ref(), Some(entry.as_ref())),
            _ => (None, None),
        };
        self.learn_lease(lease, known);
        let Standing::Passing(passing) = &mut self.candidate.standing else { return };
        let Some(entry) = entry.filter(|_| asked.as_ref() == Some(&passing.holder.id)) else { return };
        self.state = State::Ready;
        if let Some(entry) = entry {
            match Stored::read(&entry.value) {
                Stored::Known(attachment) => passing.entry = Some((entry.revision, attachment)),
                unreadable => {
                    let (attachment, why) = (Box::new(passing.holder.id.clone()), unreadable.why_unreadable());
                    self.state = State::Refused(Refusal::AttachmentUnreadable { attachment, why });
                }
            }
        }
    }

    fn learn_lease(&mut self, entry: Option<&Entry>, known: &Known<'_>) {
        match entry.map(|entry| (entry.revision, Stored::<Lease>::read(&entry.value))) {
            None => self.weigh(None, known),
            Some((revision, Stored::Known(lease))) => self.weigh(Some((revision, lease)), known),
            Some((_, other)) => {
                (self.candidate.standing, self.foreign) = (Standing::Unknown, false);
                self.state = State::Refused(self.unreadable(other.why_unreadable()));
            }
        }
    }

    fn unreadable(&self, why: String) -> Refusal {
        Refusal::Unreadable { ip: self.candidate.ip, why }
    }

    /// Takes in its lease, if it has one.
    fn weigh(&mut self, mut lease: Option<(Revision, Lease)>, known: &Known<'_>) {
        let ip = self.candidate.ip;
        (self.candidate.standing, self.state, self.foreign) = (Standing::Unknown, State::Ready, false);
        let own = known.terms.keep.as_ref().map(|keep| &keep.owner);
        let owner = lease.as_ref().and_then(|(_, lease)| lease.owner.as_ref());
        let is_own = owner.zip(own).is_some_and(|(owner, own)| known.terms.cluster.renamed(owner).is(own));
        if let Some(own) = own.filter(|_| self.only_own && !is_own) {
            self.state = State::Refused(ClaimError::NotItsOwn { ip, owner: Box::new(own.clone()) }.into());
            return;
        }
        if let Some(((_, lease), own)) = lease.as_mut().zip(own).filter(|_| is_own) {
            lease.name_cluster_of_pods(own);
        }
        let Some((revision, lease)) = lease else { return };
        if let Some(rest) = key_of_rest(&known.terms.vrf, ip, &lease) {
            // Cooldown binds random choice only.
            self.candidate.standing = Standing::Resting { revision, rest, over: true };
            return;
        }
        match (lease.unused, &lease.owner) {
            (Some(_), _) if is_own || lease.is_over(known.now) => {
                self.candidate.standing = Standing::Reserved(revision);
            }
            (Some(since), Some(owner)) => {
                self.foreign = true;
                let sighted = lease.sighted(known.now);
                self.ahead = sighted.map(|lease| Amendment::of_lease(known.terms.vrf.clone(), ip, revision, lease));
                self.state = State::Refused(Refusal::Reserved { ip, owner: Box::new(owner.clone()), since });
            }
            (Some(_), None) => self.state = State::Refused(self.unreadable("is reserved for nobody".to_owned())),
            (None, _) => {
                self.foreign = !is_own && !lease.holders.iter().all(|other| other.is_of_one_machine_with(known.own));
                self.rule(revision, lease, known.own, known.judged);
            }
        }
    }

    /// Looks at its question again, after a verdict.
    pub(super) fn judge(&mut self, own: &Holder, judged: &Judged) {
        if let State::Question(question) = &self.state {
            let Question { revision, lease, .. } = (**question).clone();
            self.rule(revision, lease, own, judged);
        }
    }

    fn rule(&mut self, revision: Revision, lease: Lease, own: &Holder, judged: &Judged) {
        let ip = self.candidate.ip;
        let Some((holder, ruling)) = judged.among(own, &lease.holders) else {
            self.state = State::Refused(self.unreadable("names no holder".to_owned()));
            return;
        };
        let holder = holder.clone();
        let question = |lease: Lease| Question { ip, revision, holder: holder.clone(), since: lease.since, lease };
        self.state = match ruling {
            Ruling::Ask | Ruling::AskNode => State::Question(Box::new(question(lease))),
            Ruling::Stays(why) => State::Refused(question(lease).refusal(why)),
            Ruling::Joins => {
                self.candidate.standing = Standing::Joining { revision, lease: Box::new(lease) };
                State::Ready
            }
            // A pod that goes on with another sandbox has not left it.
            Ruling::Passes(shown) => {
                match lease.owner.clone().filter(|_| self.foreign && shown != Shown::EarlierSandbox) {
                    // As after its DEL.
                    Some(owner) => State::Refused(question(lease).refusal(Unshown::Kept(shown, Box::new(owner)))),
                    None => {
                        let others = lease.clone().without(&holder.id).map(Box::new);
                        let lease = Box::new(lease);
                        let passing = Passing { revision, holder, shown, lease, others, entry: None };
                        self.candidate.standing = Standing::Passing(Box::new(passing));
                        State::Unread
                    }
                }
            }
        };
    }
}

impl Question {
    /// Whether the API server may know the holder's pod; else its node alone knows of its container.
    pub(super) fn is_about_a_pod(&self) -> bool {
        self.holder.pod.full_name().is_some()
    }

    /// The refusal as long as the holder keeps its address.
    pub(super) fn refusal(&self, why: Unshown) -> Refusal {
        let (ip, since, holder) = (self.ip, self.since, Box::new(self.holder.clone()));
        Refusal::Held { ip, holder, since, workload: None, why: Box::new(why) }
    }
}
