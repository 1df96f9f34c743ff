//! The rules for attachments: fences, what began in an earlier boot, and what a take-over left.

use std::net::IpAddr;

use jiff::Timestamp;

use super::super::observation::Seen;
use super::super::{LeakReason, SkipReason, Target, Verdict};
use super::LeakFinder;
use super::holder::HolderStatus;
use crate::ipam::decide::{Amended, Amendment, is_fence_over};
use crate::ipam::lease::{AllocationKind, Attachment, Holder, Stored, is_ahead};
use crate::ipam::name::AttachmentId;

/// How long an attachment that lost all its addresses stays, in seconds: longer than a node that comes back with its
/// pods is usually away. A node takes a missing entry as a sign that the store lost writes.
const REMAINS_SECONDS: i64 = 7 * 24 * 3600;

impl<'a> LeakFinder<'a> {
    pub(super) fn attachment(&mut self, id: &'a AttachmentId, seen: &'a Seen<Attachment>) {
        let attachment = match &seen.value {
            Stored::Known(attachment) => attachment,
            Stored::Unreadable(why) => {
                let reason = SkipReason::Unreadable(why.clone());
                return self.candidate(Target::Attachment(id.clone()), seen, None, None, Verdict::Skipped(reason));
            }
        };
        let is_bare = attachment.addresses.is_empty();
        let is_fenced =
            attachment.closed.is_some_and(|closed| is_bare && !self.is_fence_done(id, seen, attachment, closed));
        let found = match (&attachment.holder, attachment.closed) {
            // An ADD or DEL of it may still be in progress while its fence is needed.
            _ if is_fenced => None,
            (_, Some(closed)) if attachment.is_only_closed() => Some(Verdict::Leaked(LeakReason::Closed(closed))),
            (None, _) => Some(Verdict::Skipped(SkipReason::Disagrees)),
            (Some(holder), _) => {
                self.of_earlier_boot(id, attachment, holder).or_else(|| self.without_addresses(id, attachment, holder))
            }
        };
        let Some(verdict) = found else { return };
        self.candidate(Target::Attachment(id.clone()), seen, attachment.holder.as_ref(), attachment.closed, verdict);
    }

    /// The verdict on an attachment of this node that began in an earlier boot. It is freed as a whole or not at all:
    /// if it lost a part, a repeated ADD would be refused.
    fn of_earlier_boot(
        &mut self,
        id: &'a AttachmentId,
        attachment: &'a Attachment,
        holder: &'a Holder,
    ) -> Option<Verdict> {
        let boots = self.seen.boots.as_ref()?;
        let (current, began) = (&boots.current, &holder.began.boot);
        let (earlier, why) = match boots.ended.contains(id) {
            true => (Some(true), LeakReason::NamespaceGone),
            false => (boots.is_earlier(id), LeakReason::EarlierBoot),
        };
        let verdict = match earlier {
            // A repeated ADD does not change the attachment, so only the record tells in which boot it runs.
            Some(false) => return None,
            None if began.is_empty() || current.is_empty() || began == current => return None,
            None => Verdict::Skipped(SkipReason::NoRecord),
            Some(true) if attachment.addresses.is_empty() => Verdict::Leaked(why),
            Some(true) => match self.kinds(id, attachment) {
                Some(kinds) if kinds.iter().all(|kind| *kind == AllocationKind::Dynamic) => Verdict::Leaked(why),
                Some(_) => Verdict::Skipped(SkipReason::KeepsItsName(why)),
                None => return None,
            },
        };
        self.rebooted.insert(id);
        Some(verdict)
    }

    /// How the addresses of an attachment were selected; `None` if it does not hold one of them alone, or one can't be
    /// read.
    fn kinds(&self, id: &AttachmentId, attachment: &Attachment) -> Option<Vec<AllocationKind>> {
        let kind = |ip: IpAddr| match &self.seen.leases.get(&(attachment.vrf.clone(), ip))?.value {
            Stored::Known(lease) if lease.is_held_by(id) && lease.holders.len() == 1 => Some(lease.kind),
            _ => None,
        };
        attachment.addresses.iter().map(|assigned| kind(assigned.address.addr())).collect()
    }

    /// The verdict on an attachment whose addresses it does not hold: remains of a take-over, or a disagreement.
    fn without_addresses(&self, id: &AttachmentId, attachment: &Attachment, holder: &'a Holder) -> Option<Verdict> {
        let own = |ip: IpAddr| match self.seen.leases.get(&(attachment.vrf.clone(), ip)).map(|lease| &lease.value) {
            None => false,
            Some(Stored::Known(lease)) => lease.is_held_by(id),
            Some(Stored::Unreadable(_)) => true,
        };
        let addresses = attachment.addresses.iter().map(|assigned| assigned.address.addr());
        let (own, not_held): (Vec<_>, Vec<_>) = addresses.partition(|ip| own(*ip));
        let disagrees = (!not_held.is_empty()).then_some(Verdict::Skipped(SkipReason::Disagrees));
        match self.holder_status(holder) {
            _ if holder.id != *id => Some(Verdict::Skipped(SkipReason::Disagrees)),
            // Its leases are judged separately.
            HolderStatus::Leaked(_) if !own.is_empty() => None,
            // Its node may not have read yet what it lost.
            HolderStatus::Leaked(_) if attachment.lost_since.is_some_and(|since| !self.are_old_remains(since)) => None,
            HolderStatus::Leaked(why) => Some(Verdict::Leaked(why)),
            HolderStatus::Alive | HolderStatus::Skipped(_) | HolderStatus::Unchecked(_) => disagrees,
        }
    }

    fn are_old_remains(&self, since: Timestamp) -> bool {
        self.seen.at.duration_since(since).as_secs() >= REMAINS_SECONDS
    }

    /// Whether a fence is no longer needed. The clock of its node may be slow, so the fence's own time is not enough:
    /// an hour must also have passed since a sweep first saw it.
    fn is_fence_done(
        &mut self,
        id: &AttachmentId,
        seen: &Seen<Attachment>,
        attachment: &Attachment,
        closed: Timestamp,
    ) -> bool {
        let now = self.seen.at;
        let Some(first) = attachment.fence_seen(now) else {
            let sighted = attachment.clone().with_sight_of(closed, now);
            // If only faster clocks have seen it, it may have as many sightings as are stored.
            if sighted != *attachment {
                let value = Amended::Attachment { id: id.clone(), attachment: Box::new(sighted) };
                self.report.notes.push(Amendment { revision: seen.revision, value });
            }
            return false;
        };
        is_fence_over(first, now) && (is_fence_over(closed, now) || is_ahead(closed, now))
    }
}
