//! What becomes of an address that has a holder: taken over, shared, refused, or checked first.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{AddressState, HolderCheck, SpecificAddress, Takeover};
use crate::ipam::decide::candidate::Availability;
use crate::ipam::lease::{Holder, Lease};
use crate::ipam::machine::JoinQuestion;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::{self, GoneReason, HolderChecks, InUseReason, TakeoverDecision};
use crate::store::Revision;

impl SpecificAddress {
    pub(in crate::ipam::decide) fn recheck(&mut self, own: &Holder, checks: &HolderChecks) {
        if let AddressState::CheckHolder(check) = &self.state {
            let HolderCheck { revision, lease, .. } = (**check).clone();
            self.decide(revision, lease, own, checks);
        }
    }

    pub(super) fn decide(&mut self, revision: Revision, lease: Lease, own: &Holder, checks: &HolderChecks) {
        let ip = self.candidate.ip;
        let Some((holder, decision)) = checks.decide_among(own, &lease.holders) else {
            self.state = AddressState::Refused(self.damaged("it names no holder"));
            return;
        };
        let holder = holder.clone();
        let since = lease.since;
        let check_holder = |lease, pending| {
            AddressState::CheckHolder(Box::new(HolderCheck {
                ip,
                revision,
                holder: holder.clone(),
                since,
                lease,
                pending,
            }))
        };
        self.state = match decision {
            TakeoverDecision::CheckPod => check_holder(lease, takeover::PendingCheck::Pod(holder.pod.clone())),
            TakeoverDecision::CheckContainer => {
                check_holder(lease, takeover::PendingCheck::Container(holder.id.clone()))
            }
            TakeoverDecision::CheckJoin => match own.machine().cloned() {
                Some(instance) => {
                    let (pod, former) = (own.pod.clone(), lease.former_pods.clone());
                    let question = JoinQuestion { instance, pod, holder: holder.pod.clone(), former };
                    check_holder(lease, takeover::PendingCheck::Join(Box::new(question)))
                }
                None => AddressState::Refused(held_refusal(ip, &holder, since, InUseReason::SeveralHolders)),
            },
            TakeoverDecision::Refuse(why) => AddressState::Refused(held_refusal(ip, &holder, since, why)),
            TakeoverDecision::Share => {
                self.candidate.availability = Availability::Joining { revision, lease: Box::new(lease) };
                AddressState::Ready
            }
            // A new sandbox of the same pod is not another user of the address.
            TakeoverDecision::TakeOver(reason)
                if let Some(manual) = self.kept_by_hand.clone()
                    && reason != GoneReason::EarlierSandbox =>
            {
                let why = InUseReason::ReservedByHand(reason, manual);
                AddressState::Refused(held_refusal(ip, &holder, since, why))
            }
            TakeoverDecision::TakeOver(reason) => {
                match lease.owner.clone().filter(|_| self.of_other_owner && reason != GoneReason::EarlierSandbox) {
                    // It stays reserved, as it would after the holder's DEL.
                    Some(owner) => AddressState::Refused(held_refusal(
                        ip,
                        &holder,
                        since,
                        InUseReason::ReservedForOwner(reason, Box::new(owner)),
                    )),
                    None => {
                        let former_pods = lease.former_pods.clone();
                        let others = lease.clone().without(&holder.id).map(Box::new);
                        let lease = Box::new(lease);
                        let is_new = reason != GoneReason::EarlierSandbox && self.not_of_owner;
                        let entry = None;
                        let takeover =
                            Takeover { revision, victim: holder, reason, lease, others, is_new, former_pods, entry };
                        self.candidate.availability = Availability::Takeover(Box::new(takeover));
                        AddressState::Unread
                    }
                }
            }
        };
    }
}

impl HolderCheck {
    /// The refusal, with the reason why the holder keeps its address.
    pub(in crate::ipam::decide) fn refusal(&self, why: InUseReason) -> Refusal {
        held_refusal(self.ip, &self.holder, self.since, why)
    }
}

fn held_refusal(ip: IpAddr, holder: &Holder, since: Timestamp, why: InUseReason) -> Refusal {
    Refusal::Held { ip, holder: Box::new(holder.clone()), since, workload: None, why: Box::new(why) }
}
