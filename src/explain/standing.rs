//! What the API server says about the pod of a holder.

use super::{Fact, Text, Topic};
use crate::ipam::lease::{Holder, PodRef};
use crate::ipam::pod::Pod;
use crate::ipam::takeover::{GoneReason, InUseReason, PodLookup, PodState, check_holder};

/// The API server's answer about a pod; `Err` says why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct PodAnswer {
    /// The pod, as its holder names it.
    pub pod: PodRef,
    /// The answer.
    pub found: Result<PodLookup, String>,
}

impl PodAnswer {
    /// The pod, if there is one of this name; it may be another one.
    pub fn pod(&self) -> Option<&Pod> {
        match &self.found {
            Ok(PodLookup::Found(state)) => Some(&state.pod),
            _ => None,
        }
    }
}

/// Whether a holder's pod still needs its addresses.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Standing<'a> {
    /// It is alive.
    Alive(&'a PodState),
    /// It is gone, for this reason.
    Gone(GoneReason),
    /// That is not known, for this reason.
    Unknown(String),
}

impl<'a> Standing<'a> {
    /// Judges a holder by the answers about its pod, as a take-over would.
    pub(super) fn of(holder: &Holder, answers: &'a [PodAnswer]) -> Self {
        if holder.pod.full_name().is_none() {
            let node = &holder.id.node;
            return Self::Unknown(format!("its runtime did not name its pod in full, so only node {node} can tell"));
        }
        match answers.iter().find(|answer| answer.pod == holder.pod).map(|answer| &answer.found) {
            None => Self::Unknown("the API server was not asked".to_owned()),
            Some(Err(why)) => Self::Unknown(why.clone()),
            Some(Ok(lookup)) => match (check_holder(&holder.pod, lookup), lookup) {
                (Ok(reason), _) => Self::Gone(reason),
                (Err(InUseReason::Running(_)), PodLookup::Found(state)) => Self::Alive(state),
                (Err(reason), _) => Self::Unknown(reason.to_string()),
            },
        }
    }

    /// The standing as a fact.
    pub(super) fn fact(&self, holder: &Holder) -> Fact {
        let pod = super::held::name(holder);
        let text = match self {
            Self::Alive(state) => alive(&pod, state),
            Self::Gone(GoneReason::NotFound) => Text::new(format!("it knows no {pod}")),
            Self::Gone(GoneReason::Replaced) => Text::new(format!("its {pod} has another UID")),
            Self::Gone(reason) => Text::new(format!("{pod} {}", ended(reason))),
            Self::Unknown(why) => Text::new(format!("whether {pod} still exists is not known: {why}")),
        };
        Fact::from_api(Topic::Pod, text)
    }
}

/// How a pod came to its end, as a predicate.
pub(super) fn ended(reason: &GoneReason) -> String {
    match reason {
        GoneReason::Replaced => "was replaced by another pod of its name".to_owned(),
        GoneReason::Finished(phase) => format!("has finished ({phase})"),
        GoneReason::NotFound => "is gone".to_owned(),
        reason => format!("is {reason}"),
    }
}

/// The state of a pod, and since when.
pub(super) fn alive(pod: &str, state: &PodState) -> Text {
    match (state.deleted, state.since) {
        (Some(deleted), _) => Text::new(format!("{pod} has been Terminating ")).lasting(deleted),
        (None, Some(since)) => Text::new(format!("{pod} is {}; its node accepted it ", state.phase)).at(since),
        (None, None) => Text::new(format!("{pod} is {}", state.phase)),
    }
}
