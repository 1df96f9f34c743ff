//! `kube-ipam move`: moves a reservation by hand to another address or object.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::CliError;
use super::confirm::ConfirmArgs;
use super::output::Output;
use super::render::move_reservation as render;
use super::store::{Resolved, StoreArgs};
use crate::ipam::lease::Beneficiary;
use crate::ipam::name::Name;
use crate::ops::operator::move_reservation::{Destination, MoveOptions, survey_move};
use crate::telemetry;

/// Move a reservation by hand to another address, or to another object.
///
/// Both addresses change in one commit, and the reason and the end stay. With --for, a pod that holds the address keeps
/// it until it ends; with --to, nobody may hold it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam move 10.188.0.50 --to 10.188.0.51
  kube-ipam move 10.188.0.218 --for claim/db/vm-a --yes")]
#[group(id = "destination", required = true, multiple = false, args = ["to", "beneficiary"])]
pub(super) struct MoveArgs {
    /// The address that is reserved by hand
    #[arg(value_name = "ADDRESS")]
    ip: IpAddr,
    /// The address to reserve in its place
    #[arg(long, value_name = "ADDRESS")]
    to: Option<IpAddr>,
    /// Who may have it from now on: NAMESPACE/POD, statefulset/[NAMESPACE/]NAME or claim/[NAMESPACE/]NAME
    #[arg(long = "for", value_name = "OBJECT")]
    beneficiary: Option<Beneficiary>,
    /// The routing domain of the addresses
    #[arg(long, value_name = "NAME", default_value = "default")]
    vrf: Name,
    /// The kubeconfig for looking up the object of --for; overrides the node defaults
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    store: StoreArgs,
}

impl MoveArgs {
    /// Runs the verb.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let Resolved { settings, store } = self.store.resolve(self.kubeconfig.as_deref())?;
        let Self { ip, to, beneficiary, vrf, confirm, .. } = self;
        let ip = ip.to_canonical();
        let destination = match (to.map(|to| to.to_canonical()), beneficiary) {
            (Some(to), _) if to == ip => return Err(CliError::Refused(format!("{ip} is where it is already"))),
            (Some(to), _) => Destination::Address(to),
            (None, Some(beneficiary)) => Destination::Beneficiary(Box::new(beneficiary)),
            // Clap requires one of them.
            (None, None) => return Err(CliError::Refused("say where to move it: --to or --for".to_owned())),
        };
        let survey = match survey_move(&settings, &store, MoveOptions { vrf, ip, destination })? {
            Ok(survey) => survey,
            Err(obstacle) => return Err(CliError::Refused(render::obstacle(ip, &obstacle))),
        };
        render::survey(output, &survey)?;
        if !confirm.confirm(output, &render::question(&survey), render::UNCONFIRMED)? {
            return Ok(());
        }
        telemetry::init(&settings.log);
        let (ip, to, after) = (survey.ip, survey.to.as_ref().map(|to| to.ip), survey.after.clone());
        let edited = survey.apply()?;
        render::end(output, (ip, to), &after, &edited)
    }
}
