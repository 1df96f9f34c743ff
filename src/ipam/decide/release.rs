//! DEL: frees what this very attachment still holds, address by address, and nothing else.
//!
//! ```text
//!  the record says what the ADD wrote ─► release it, if nothing of it has changed       (one request)
//!  else                                ─► read the attachment ─► read its leases ─► release those that are its own
//!  an ADD may still be under way      ─► whatever was found, the attachment's key ends up closed
//! ```
//!
//! An ADD whose outcome is unknown may take effect after a read that did not see it, so a DEL does not rely on such a
//! read: it writes the attachment's key, and the late commit fails on its guard. That holds when addresses were found
//! as well: they may be those of another attempt, or of one copy of a request that was sent twice.

use std::net::IpAddr;

use jiff::Timestamp;

use super::candidate::cooldown_key;
use super::check::{held_lease, read_leases};
use super::reads::{Answers, OneEntry, Read};
use super::{Decide, Step, within_rounds};
use crate::ipam::address::Family;
use crate::ipam::keys::{self, CooldownClass};
use crate::ipam::lease::{self, Attachment, Lease, OnRelease, Rest, RestEntry, Stored, VERSION, Written, is_ahead};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::recovery::{EntryState, Examine, Sign};
use crate::ipam::refusal::NotHeldReason;
use crate::store::{Entry, Guard, Op, OpResponse, Outcome, Revision, Txn, TxnError};

/// The rests that are looked at: where as many have gathered and most of them are over, those are cleared.
const CLEARED: u32 = 32;

/// How long a fence stands, in seconds: far longer than any commit can be under way.
const FENCE: i64 = 3600;

/// Whether a fence has stood for longer than any commit can be under way.
pub(in crate::ipam) fn is_past(closed: Timestamp, now: Timestamp) -> bool {
    now.as_second().saturating_sub(closed.as_second()) >= FENCE
}

/// What a DEL has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Released {
    /// Addresses that it has let go of: free now, left to another holder, or kept for their owner.
    pub freed: Vec<IpAddr>,
    /// Addresses that the attachment had, but that are not its own any more, with what is known of them.
    pub not_owned: Vec<(IpAddr, NotHeldReason)>,
    /// Why the attachment's own entry was left as it is: this version can't read it.
    pub left: Option<String>,
    /// Whether the attachment was closed against an ADD that may still be under way.
    pub fenced: bool,
    /// Rests that are over and can be cleared; leaving them costs no address.
    pub clear: Option<Txn>,
    /// What shows that the store has lost the attachment, unless somebody released it and died before he noted that.
    pub sign: Option<Sign>,
}

/// The state machine of a DEL.
#[derive(Clone, Debug)]
pub struct Release {
    id: AttachmentId,
    vrf: Name,
    /// Whether an ADD of this attachment may still be under way.
    fence: bool,
    written: Option<Written>,
    /// The highest revision of the store that the node has seen.
    newest: Option<Revision>,
    sign: Option<Sign>,
    pending: Pending,
    rounds: u32,
}

#[derive(Clone, Debug)]
enum Pending {
    Nothing,
    /// The attachment's entry.
    Look,
    /// The leases of an attachment of this revision.
    Leases(Box<Attachment>, Revision, Vec<Read<OneEntry>>),
    /// The release of these addresses, while others are left alone.
    Free(Released),
    /// The fence.
    Close,
    /// How the attachment stands by its record, which is not as that says.
    Examine(Box<Examine>),
}

impl Release {
    /// The release of an attachment: `written` is what the node's record says of its ADD, `fence` whether that record
    /// leaves open what became of it or of an earlier attempt since the last DEL. The vrf is where a fence is noted, if
    /// it comes to one.
    pub fn new(id: AttachmentId, vrf: Name, written: Option<Written>, fence: bool) -> Self {
        Self { id, vrf, fence, written, newest: None, sign: None, pending: Pending::Nothing, rounds: 0 }
    }
}

impl Release {
    /// The same, where the node has seen this revision of the store: one that is behind it has lost writes.
    #[must_use]
    pub fn after_revision(self, newest: Option<Revision>) -> Self {
        Self { newest, ..self }
    }
}

impl Decide for Release {
    type Decision = Released;

    fn start(&mut self, now: Timestamp) -> Step<Released> {
        let step = match self.written.clone() {
            Some(Written { attachment, leases, revision }) => {
                let leases = leases.into_iter().map(|(ip, lease)| (ip, lease, revision)).collect();
                self.free(&attachment, revision, leases, Vec::new(), now)
            }
            None => self.look(),
        };
        step.unwrap_or_else(|error| Step::Refused(error.into()))
    }

    fn next(&mut self, outcome: &Outcome, now: Timestamp) -> Step<Released> {
        self.rounds += 1;
        let wrote = outcome.branch.succeeded && matches!(self.pending, Pending::Free(_) | Pending::Close);
        self.sign = self.sign.take().or_else(|| Sign::behind(outcome.at, self.newest, wrote));
        let step = match self.advance(outcome, now).unwrap_or_else(|error| Step::Refused(error.into())) {
            Step::Done(released) => Step::Done(Released { sign: self.sign.take(), ..released }),
            step => step,
        };
        within_rounds(self.rounds, step)
    }

    fn unanswered(&mut self, _now: Timestamp) -> Step<Released> {
        // What it finds from now on may be its own doing.
        self.written = None;
        self.look().unwrap_or_else(|error| Step::Refused(error.into()))
    }
}

impl Release {
    fn advance(&mut self, outcome: &Outcome, now: Timestamp) -> Result<Step<Released>, TxnError> {
        let (taken, answers) = (outcome.branch.succeeded, Answers(&outcome.branch.responses));
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Free(released) if taken => {
                Ok(Step::Done(Released { clear: clear_expired(answers.0, now)?, ..released }))
            }
            Pending::Close if taken => Ok(Step::Done(Released { fenced: true, ..Released::default() })),
            Pending::Leases(attachment, revision, leases) if taken => {
                self.after_leases(&attachment, revision, &leases, answers, now)
            }
            Pending::Examine(mut examine) => match examine.next(outcome, now) {
                Step::Done((_, entry_state)) => {
                    if let EntryState::Lost(sign) = entry_state {
                        self.sign = self.sign.take().or(Some(sign));
                    }
                    self.look()
                }
                Step::Commit(txn) => {
                    self.pending = Pending::Examine(examine);
                    Ok(Step::Commit(txn))
                }
                Step::Refused(refusal) => Ok(Step::Refused(refusal)),
            },
            Pending::Free(_) if self.is_in_doubt(answers.only_entry()) => self.examine(now),
            // A look reads the entry, and every other transaction does where its guards fail.
            Pending::Nothing | Pending::Look | Pending::Leases(..) | Pending::Free(_) | Pending::Close => {
                self.after_look(answers.only_entry(), now)
            }
        }
    }

    /// Whether the entry is missing that the record knows of, or an older one than that.
    fn is_in_doubt(&self, entry: Option<&Entry>) -> bool {
        let Some(written) = &self.written else { return false };
        entry.is_none_or(|entry| entry.revision < written.revision)
    }

    fn examine(&mut self, now: Timestamp) -> Result<Step<Released>, TxnError> {
        let Some(written) = self.written.take() else { return self.look() };
        let mut examine = Box::new(Examine::new(self.id.clone(), written));
        let step = examine.start(now);
        self.pending = Pending::Examine(examine);
        Ok(match step {
            Step::Commit(txn) => Step::Commit(txn),
            Step::Done(_) => return self.look(),
            Step::Refused(refusal) => Step::Refused(refusal),
        })
    }

    fn look(&mut self) -> Result<Step<Released>, TxnError> {
        self.pending = Pending::Look;
        Txn::read(vec![Op::Get(keys::attachment(&self.id))]).map(Step::Commit)
    }

    fn after_look(&mut self, entry: Option<&Entry>, now: Timestamp) -> Result<Step<Released>, TxnError> {
        let Some(entry) = entry else {
            return self.nothing_held(Guard::Absent(keys::attachment(&self.id)), now);
        };
        let unchanged = Guard::Unchanged(entry.key.clone(), entry.revision);
        match Stored::<Attachment>::read(&entry.value) {
            Stored::Known(attachment) if attachment.is_only_closed() => self.nothing_held(unchanged, now),
            Stored::Known(attachment) => {
                let (txn, leases) = read_leases(&attachment, entry)?;
                self.pending = Pending::Leases(Box::new(attachment), entry.revision, leases);
                Ok(Step::Commit(txn))
            }
            // A newer version of this program will know what the entry holds, and a sweep of it will collect that.
            unreadable => Ok(Step::Done(Released { left: Some(unreadable.why_unreadable()), ..Released::default() })),
        }
    }

    fn nothing_held(&mut self, guard: Guard, now: Timestamp) -> Result<Step<Released>, TxnError> {
        if !self.fence {
            return Ok(Step::Done(Released::default()));
        }
        // Also in the place of an older fence: the ADD may be guarded by that one's revision.
        let key = keys::attachment(&self.id);
        let closed = Op::Put(key.clone(), lease::write(&Attachment::closed(self.vrf.clone(), now)));
        self.pending = Pending::Close;
        Txn::new(vec![guard], vec![closed], vec![Op::Get(key)]).map(Step::Commit)
    }

    fn after_leases(
        &mut self,
        attachment: &Attachment,
        revision: Revision,
        leases: &[Read<OneEntry>],
        answers: Answers<'_>,
        now: Timestamp,
    ) -> Result<Step<Released>, TxnError> {
        let (mut own, mut not_owned) = (Vec::new(), Vec::new());
        for (assigned, lease) in attachment.addresses.iter().zip(leases) {
            let ip = assigned.address.addr();
            match held_lease(&self.id, answers.to(*lease)) {
                Ok((lease, revision)) => own.push((ip, lease, revision)),
                Err(now) => not_owned.push((ip, now)),
            }
        }
        self.free(attachment, revision, own, not_owned, now)
    }

    /// Releases these leases and removes the attachment, all under the revisions at which they were seen.
    fn free(
        &mut self,
        attachment: &Attachment,
        revision: Revision,
        own: Vec<(IpAddr, Lease, Revision)>,
        not_owned: Vec<(IpAddr, NotHeldReason)>,
        now: Timestamp,
    ) -> Result<Step<Released>, TxnError> {
        let key = keys::attachment(&self.id);
        let mut when = vec![Guard::Unchanged(key.clone(), revision)];
        let mut families: Vec<Family> = own.iter().map(|(ip, ..)| Family::of(*ip)).collect();
        families.sort_unstable();
        families.dedup();
        let oldest_rests = families.into_iter().map(|family| Op::Range {
            span: keys::rests(&attachment.vrf, family, CooldownClass::Normal),
            limit: CLEARED,
            keys_only: false,
        });
        let mut then: Vec<Op> = oldest_rests.collect();
        then.push(self.without_addresses(attachment, now));
        then.extend(self.forget_note(&attachment.vrf, revision, &own)?);
        let mut released = Released { not_owned, fenced: self.fence, ..Released::default() };
        for (ip, lease, revision) in own {
            let lease_key = keys::lease(&attachment.vrf, ip);
            when.push(Guard::Unchanged(lease_key.clone(), revision));
            then.extend(let_go(&self.id, &attachment.vrf, ip, lease, now));
            released.freed.push(ip);
        }
        self.pending = Pending::Free(released);
        Txn::new(when, then, vec![Op::Get(key)]).map(Step::Commit)
    }

    /// Removes the note of what the owner's pod asked for, if nothing is kept beside it and nobody else holds the
    /// address. The note of a later ADD is of another revision.
    fn forget_note(
        &self,
        vrf: &Name,
        attachment: Revision,
        own: &[(IpAddr, Lease, Revision)],
    ) -> Result<Vec<Op>, TxnError> {
        if own.iter().any(|(_, lease, _)| matches!(lease.on_release, OnRelease::Keep(_))) {
            return Ok(Vec::new());
        }
        let mut held_alone = own.iter().filter(|(_, lease, _)| lease.holders.iter().all(|holder| holder.id == self.id));
        let noted = held_alone.find_map(|(_, lease, revision)| Some((lease.held_for.as_ref()?, *revision)));
        let Some((owner, lease)) = noted else { return Ok(Vec::new()) };
        let key = keys::reservation(vrf, owner, &self.id);
        let forget = |revision, otherwise| {
            let unchanged = vec![Guard::Unchanged(key.clone(), revision)];
            Ok(vec![Op::Txn(Box::new(Txn::new(unchanged, vec![Op::Delete(key.clone())], otherwise)?))])
        };
        // A repeated ADD writes the attachment again, and a pod that leaves its part of a lease writes that.
        forget(lease, if attachment == lease { Vec::new() } else { forget(attachment, Vec::new())? })
    }

    /// The attachment's key goes, unless a fence is put up or has to stand on.
    fn without_addresses(&self, attachment: &Attachment, now: Timestamp) -> Op {
        let key = keys::attachment(&self.id);
        let stands = |closed: &Timestamp| !is_past(*closed, now);
        // One that lies ahead was put up by this very node, before its clock was set back.
        let not_ahead = |closed: Timestamp| if is_ahead(closed, now) { now } else { closed };
        let closed = if self.fence { Some(now) } else { attachment.closed.filter(stands).map(not_ahead) };
        match closed {
            Some(_) => {
                let (addresses, lost) = (Vec::new(), Vec::new());
                let emptied =
                    Attachment { addresses, lost, lost_since: None, holder: None, closed, ..attachment.clone() };
                Op::Put(key, lease::write(&emptied))
            }
            None => Op::Delete(key),
        }
    }
}

/// What is written when an attachment lets go of a lease: the lease without it, or the address at rest, or nothing.
pub(in crate::ipam) fn let_go(id: &AttachmentId, vrf: &Name, ip: IpAddr, lease: Lease, now: Timestamp) -> Vec<Op> {
    match lease.clone().without(id) {
        Some(others) => vec![Op::Put(keys::lease(vrf, ip), lease::write(&others))],
        None => rest_or_forget(vrf, ip, lease, now),
    }
}

/// What is written when nobody is left who holds a lease.
pub(super) fn rest_or_forget(vrf: &Name, ip: IpAddr, lease: Lease, now: Timestamp) -> Vec<Op> {
    put_or_forget(vrf, ip, lease.released(now))
}

/// What is written of a lease that may rest now, or be remembered no more.
pub(super) fn put_or_forget(vrf: &Name, ip: IpAddr, lease: Option<Lease>) -> Vec<Op> {
    let key = keys::lease(vrf, ip);
    let Some(resting) = lease else { return vec![Op::Delete(key)] };
    let entry = resting
        .rest
        .clone()
        .zip(cooldown_key(vrf, ip, &resting))
        .map(|(rest, rest_key): (Rest, _)| Op::Put(rest_key, lease::write(&RestEntry { v: VERSION, rest })));
    entry.into_iter().chain([Op::Put(key, lease::write(&resting))]).collect()
}

/// A transaction that removes rests which are over, where a batch of them has gathered; each only if nobody has taken
/// the address meanwhile.
fn clear_expired(answers: &[OpResponse], now: Timestamp) -> Result<Option<Txn>, TxnError> {
    let mut tries = Vec::new();
    for answer in answers {
        let OpResponse::Entries(entries) = answer else { continue };
        let over = |entry: &&Entry| {
            let known = Stored::<RestEntry>::read(&entry.value).known();
            known.is_some_and(|entry| entry.rest.is_over(now))
        };
        let over: Vec<&Entry> = entries.iter().filter(over).collect();
        if entries.len() < CLEARED as usize || over.len() <= CLEARED as usize / 2 {
            continue;
        }
        for entry in over {
            let Some((vrf, _, ip)) = keys::read_rest(&entry.key) else { continue };
            let lease = keys::lease(&vrf, ip);
            // Both were written by one transaction, and so at one revision.
            let when = [&entry.key, &lease].map(|key| Guard::Unchanged(key.clone(), entry.revision));
            let then = [Op::Delete(entry.key.clone()), Op::Delete(lease)];
            tries.push(Op::Txn(Box::new(Txn::new(when.into(), then.into(), Vec::new())?)));
        }
    }
    if tries.is_empty() { Ok(None) } else { Txn::read(tries).map(Some) }
}
