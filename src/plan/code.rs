//! The number of each finding. To add a kind, take the next free number of its hundred, and add it to the list and to
//! docs/reference-errors.md.

mod list;

pub use self::list::Code;
use crate::config::{ConfigWarning, Problem};
use crate::ipam::claim::ClaimError;
use crate::ipam::refusal::Refusal;
use crate::ipam::request::{AnnotationError, Note};

// Files.
pub(super) const SYNTAX: Code = Code(1);
pub(super) const DUPLICATE_KEY: Code = Code(2);
pub(super) const CONFIG_NOT_TEXT: Code = Code(3);
pub(super) const CONFIG_NOT_JSON: Code = Code(4);
pub(super) const ANNOTATION_NOT_TEXT: Code = Code(5);
pub(super) const TOO_MANY_FINDINGS: Code = Code(6);

// Networks and interfaces.
pub(super) const NETWORK_NAME: Code = Code(101);
pub(super) const NO_SUCH_NETWORK: Code = Code(102);
pub(super) const OTHER_NAMESPACE: Code = Code(103);
pub(super) const DEFINED_TWICE: Code = Code(104);
pub(super) const SELECTION: Code = Code(105);
pub(super) const SAME_INTERFACE: Code = Code(106);
pub(super) const RANGES_SHARED: Code = Code(107);
pub(super) const DEFAULT_ROUTE: Code = Code(108);
pub(super) const GATEWAY_OUTSIDE: Code = Code(109);
pub(super) const NO_CAPABILITY: Code = Code(110);

// Workloads.
pub(super) const DUPLICATE_ADDRESS: Code = Code(301);
pub(super) const SHARED_BY_REPLICAS: Code = Code(302);
pub(super) const CANNOT_ROLL: Code = Code(303);
pub(super) const ANNOTATION_ON_WORKLOAD: Code = Code(304);
pub(super) const NO_SUCH_INTERFACE: Code = Code(305);
pub(super) const FOREIGN_ANNOTATION: Code = Code(306);
pub(super) const POOL_TOO_SHORT: Code = Code(307);
pub(super) const TOO_MANY_PODS: Code = Code(308);
pub(super) const UNSCOPED_FOR_NOBODY: Code = Code(309);
pub(super) const TOO_LARGE: Code = Code(310);
pub(super) const ANNOTATION_ON_OTHER: Code = Code(311);
pub(super) const NO_SUCH_CLAIM: Code = Code(312);
pub(super) const CLAIM_SHARED: Code = Code(313);
pub(super) const HELD_IN_CLUSTER: Code = Code(314);
pub(super) const FOREIGN_HOST: Code = Code(315);
pub(super) const RESERVED_IN_CLUSTER: Code = Code(316);

// Requests.
pub(super) const CLAIM: Code = Code(431);

/// The number of a mistake in a configuration.
pub(super) fn of_problem(problem: &Problem) -> Code {
    Code(match problem {
        Problem::NoIpam => 201,
        Problem::Unexpected { .. } => 202,
        Problem::TooLong(_) | Problem::TooMany { .. } => 203,
        Problem::NearMiss(_) => 204,
        Problem::Foreign(_) => 205,
        Problem::EmptyEntry => 206,
        Problem::OnlyInDefaults(_) => 207,
        Problem::Locked(_) | Problem::LockedByDefault { .. } => 208,
        Problem::OpensNothing(_) | Problem::LockedAndOpen(_) | Problem::LocksNothing(_) => 209,
        Problem::Address(_) | Problem::Span(_) => 210,
        Problem::Name(_) => 211,
        Problem::Quantity(_) | Problem::DurationBounds { .. } | Problem::TooSmall { .. } => 212,
        Problem::RelativePath(_) => 213,
        Problem::Unreadable { .. } | Problem::NotJson(_) => 214,
        Problem::NoRanges | Problem::EmptySet | Problem::NoSubnet | Problem::NeedsSubnet => 215,
        Problem::MixedFamilies { .. } => 216,
        Problem::SpecialSubnet { .. } => 217,
        Problem::OutsideSubnet { .. } => 218,
        Problem::GatewayFamily { .. } | Problem::GatewayIsNoHost { .. } => 219,
        Problem::Backwards { .. } => 220,
        Problem::HalfWindow(_) => 221,
        Problem::RangesOverlap { .. } | Problem::SetsOverlap { .. } => 222,
        Problem::NothingLeft(_) => 223,
        Problem::NodesWithoutSubnet | Problem::NoGlobs => 225,
        Problem::TooManyRanges { .. } => 226,
        Problem::NoDestination | Problem::HostBits { .. } | Problem::RouteFamily { .. } => 227,
        Problem::NoStore(_) | Problem::TwoStores(_) => 228,
        Problem::NoUrl | Problem::NotAUrl(_) | Problem::SecretInUrl => 229,
        Problem::Needs(_) | Problem::Differs(_) => 230,
        Problem::BadPrefix(_) => 231,
        Problem::Label(_) => 232,
        Problem::PoolName(_) => 233,
        Problem::NoPoolAddresses | Problem::TooManyPoolEntries { .. } | Problem::PoolNothingLeft => 234,
        Problem::PoolsOverlap { .. } => 235,
        Problem::PoolOutsideSubnets { .. } => 236,
        Problem::NotANamespace(_) => 237,
    })
}

/// The number of a warning about a configuration.
pub(super) fn of_warning(warning: &ConfigWarning) -> Code {
    Code(match warning {
        ConfigWarning::UnknownKey(_) => 251,
        ConfigWarning::Foreign { .. } => 252,
        ConfigWarning::LockedAndSame(_) => 253,
        ConfigWarning::WithoutSubnet(_) => 254,
        ConfigWarning::PlainHttp { .. } => 255,
        ConfigWarning::SelectorWithoutLabels(_) => 256,
    })
}

/// The number of a refused request.
pub(super) fn of_refusal(refusal: &Refusal) -> Code {
    Code(match refusal {
        Refusal::NotAnAddress { .. } => 401,
        Refusal::OutsideSubnets { .. } => 402,
        Refusal::OtherNodes { .. } => 403,
        Refusal::NotAssignable { .. } => 404,
        Refusal::OtherPrefix { .. } => 405,
        Refusal::Annotation(error) => return of_annotation(error),
        Refusal::Claim(error) => return of_claim(error),
        Refusal::OneAddressPerFamily { .. } => 406,
        Refusal::Namespace { .. } => 407,
        Refusal::TooManyAddresses { .. } | Refusal::TooLarge(_) => 408,
        Refusal::NothingDynamic { .. } => 409,
        Refusal::NotOnNode { .. } => 410,
        Refusal::Held { .. } => return DUPLICATE_ADDRESS,
        Refusal::Exhausted { .. } => return TOO_MANY_PODS,
        // Refusals that need a store in use, a running pod or another call. A plan has none of these.
        _ => 499,
    })
}

fn of_annotation(error: &AnnotationError) -> Code {
    Code(match error {
        AnnotationError::Unknown { .. } => 421,
        AnnotationError::NeedsInterface { .. } => 422,
        AnnotationError::Empty(_) | AnnotationError::EmptyEntry(_) => 423,
        AnnotationError::Value { .. } => 424,
        AnnotationError::TooLarge { .. } => 425,
        AnnotationError::JsonList { .. } => 426,
        AnnotationError::NoSuchInterface { .. } => return NO_SUCH_INTERFACE,
        AnnotationError::IpAndPool(..) => 427,
        AnnotationError::Disagree { .. } => 428,
        AnnotationError::PoolTooShort { .. } => return POOL_TOO_SHORT,
        AnnotationError::Claim { .. } => 429,
        AnnotationError::Unfit { .. } => 430,
        AnnotationError::OtherFamily { .. } => 432,
        AnnotationError::NoRangeSet { .. } => 433,
        AnnotationError::UnknownPool { .. } => 434,
    })
}

fn of_claim(error: &ClaimError) -> Code {
    match error {
        ClaimError::Status { refusal, .. } => of_refusal(refusal),
        _ => CLAIM,
    }
}

/// The number of an annotation that has no effect.
pub(super) fn of_note(note: &Note) -> Code {
    match note {
        Note::NoSuchInterface { .. } => NO_SUCH_INTERFACE,
        Note::Unknown(_) => Code(441),
        Note::Elsewhere { .. } => Code(442),
        Note::WithoutAddress(_) => Code(443),
        Note::Sticky(_) => Code(444),
    }
}
