//! `kube-ipam list`: which addresses are held, reserved, in cooldown or foreign, and by whom.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::CliError;
use super::output::{Encoding, ListFormat, ListFormatArgs, Output};
use super::render::list as render;
use super::selection::SelectionArgs;
use super::store::{Resolved, StoreArgs, variable};
use crate::ipam::address::Span;
use crate::ipam::lease::{AllocationKind, LeaseState};
use crate::ops::operator::NetworkSources;
use crate::ops::operator::free::{FreeOptions, free};
use crate::ops::operator::list::{AddressState, ListOptions, OwnerPattern, SortColumn, list};

/// Show which addresses are held, reserved, in cooldown or foreign, and by whom.
///
/// Options filter the list. Several values of one option, separated by commas or given one by one, show what matches any
/// of them; several options show what matches all of them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam list
  kube-ipam list --network db-net --node worker-3
  kube-ipam list --network db-net --pool primaries
  kube-ipam list --range 10.188.0.0/24 --state resting,reserved
  kube-ipam list --owner statefulset/database/db -o wide
  kube-ipam list --namespace database -o name | xargs -n1 kube-ipam explain
  kube-ipam list --free 10.188.0.0/24
  kube-ipam list --ip 10.188.0.218 -o json
  kube-ipam list --data-dir /var/lib/kube-ipam/store")]
pub(super) struct ListArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Only addresses in these states; with --node, also what was held there last
    #[arg(long, value_enum, value_name = "STATE", value_delimiter = ',')]
    state: Vec<StateArg>,
    /// Only addresses that were selected in these ways
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<KindArg>,
    /// Only what is kept for these owners, or held by pods of these workloads
    ///
    /// Such as db, database/db, statefulset/db or deployment/shop/web.
    #[arg(long, value_name = "[KIND/][NAMESPACE/]NAME", value_delimiter = ',')]
    owner: Vec<OwnerPattern>,
    /// The free addresses of this range instead: those that a pod could get there now, at random or on request
    ///
    /// They come as spans, with their number and the networks that assign them. Networks are known as for explain.
    #[arg(long, value_name = "CIDR|FROM-TO", conflicts_with_all = NOT_FREE)]
    free: Option<Span>,
    /// The kubeconfig for reading networks with --free, and for custom resources; overrides the node defaults
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// With --free: the folder with the networks of this node's runtime
    #[arg(long, value_name = "DIR", requires = "free", default_value = "/etc/cni/net.d")]
    cni_dir: PathBuf,
    /// Sort by this column
    ///
    /// Any other order than that of addresses needs all rows in memory: at most 100,000, about 60 MiB.
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t)]
    sort: SortArg,
    #[command(flatten)]
    format: ListFormatArgs,
    #[command(flatten)]
    store: StoreArgs,
}

/// The options about leases, which a free address does not have.
const NOT_FREE: [&str; 9] = ["pool", "range", "ip", "namespace", "pod", "node", "state", "kind", "owner"];

/// The state of an address.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateArg {
    /// A pod or container has it
    Held,
    /// It is kept for its owner
    Reserved,
    /// It is in cooldown
    Resting,
    /// A host without a lease uses it
    Foreign,
    /// Its lease can't be read
    Unreadable,
}

/// How an address was selected.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindArg {
    /// At random
    Random,
    /// It was requested
    Fixed,
    /// It is kept for a stable identity
    Sticky,
}

/// A column to sort by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SortArg {
    /// By routing domain, family and number, without a limit
    #[default]
    Address,
    /// By state
    State,
    /// By kind
    Kind,
    /// By the holder's network
    Network,
    /// By the holder's pod
    Pod,
    /// By the holder's node
    Node,
    /// By time, the earliest first
    Since,
}

impl From<StateArg> for AddressState {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Held => Self::Known(LeaseState::Held),
            StateArg::Reserved => Self::Known(LeaseState::Reserved),
            StateArg::Resting => Self::Known(LeaseState::Resting),
            StateArg::Foreign => Self::Known(LeaseState::Foreign),
            StateArg::Unreadable => Self::Unreadable,
        }
    }
}

impl From<KindArg> for AllocationKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Random => Self::Dynamic,
            KindArg::Fixed => Self::Fixed,
            KindArg::Sticky => Self::Sticky,
        }
    }
}

impl SortArg {
    /// The column; `None` for the order in which the addresses are read.
    fn column(self) -> Option<SortColumn> {
        match self {
            Self::Address => None,
            Self::State => Some(SortColumn::State),
            Self::Kind => Some(SortColumn::Kind),
            Self::Network => Some(SortColumn::Network),
            Self::Pod => Some(SortColumn::Pod),
            Self::Node => Some(SortColumn::Node),
            Self::Since => Some(SortColumn::Since),
        }
    }
}

impl ListArgs {
    /// Runs the verb. Prints each address as it is read, so that memory does not grow with the store.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let Resolved { settings, store } = self.store.resolve(self.kubeconfig.as_deref())?;
        let format = self.format.output;
        if let Some(span) = self.free {
            let options = self.free_options(span)?;
            return render::free(output, format, |show| free(&settings, &store, &variable, &options, show));
        }
        let options = self.options();
        match format {
            ListFormat::Table => render::table(output, |show| list(&store, &options, show)),
            ListFormat::Wide => render::wide(output, |show| list(&store, &options, show)),
            ListFormat::Name => render::names(output, |show| list(&store, &options, show)),
            ListFormat::Json => render::documents(output, Encoding::Json, |show| list(&store, &options, show)),
            ListFormat::Yaml => render::documents(output, Encoding::Yaml, |show| list(&store, &options, show)),
        }
    }

    fn free_options(self, span: Span) -> Result<FreeOptions, CliError> {
        let config = self.store.config().map(Path::to_owned).zip(self.store.document()?);
        Ok(FreeOptions {
            span,
            vrfs: self.selection.vrf.into_iter().collect(),
            networks: self.selection.network.into_iter().collect(),
            sources: NetworkSources { config, cni_folder: self.cni_dir },
        })
    }

    fn options(self) -> ListOptions {
        ListOptions {
            selection: self.selection.selection(),
            states: self.state.into_iter().map(AddressState::from).collect(),
            kinds: self.kind.into_iter().map(AllocationKind::from).collect(),
            owners: self.owner,
            sort: self.sort.column(),
        }
    }
}
