//! The conditions that an entry must meet to be listed.

use super::owner_pattern::OwnerPattern;
use super::spans::by_attachments;
use super::{AddressRow, ListOptions};
use crate::ipam::lease::{Lease, LeaseState, Stored};
use crate::store::Entry;

/// Reads those entries that meet the conditions.
pub(super) struct Filter<'a> {
    options: &'a ListOptions,
    /// Texts, escaped as in JSON: a matching lease contains one of each list. Other leases need not be parsed.
    texts: Vec<Vec<String>>,
}

impl<'a> Filter<'a> {
    pub(super) fn new(options: &'a ListOptions) -> Self {
        let selection = &options.selection;
        let pods = selection.pods.iter().map(|pod| pod.rsplit('/').next().unwrap_or(pod));
        let lists: [Vec<&str>; 4] = [
            pods.collect(),
            selection.networks.iter().map(|network| network.as_str()).collect(),
            selection.namespaces.iter().map(String::as_str).collect(),
            options.owners.iter().map(OwnerPattern::name).collect(),
        ];
        let lists = lists.into_iter().filter(|texts| !texts.is_empty());
        Self { options, texts: lists.map(|texts| texts.into_iter().map(json_text).collect()).collect() }
    }

    /// The row of an entry that meets all conditions.
    pub(super) fn read(&self, entry: &Entry) -> Option<AddressRow> {
        if !self.texts.is_empty() {
            let text = String::from_utf8_lossy(&entry.value);
            let has_one = |texts: &Vec<String>| texts.iter().any(|wanted| text.contains(wanted));
            if !self.texts.iter().all(has_one) {
                return None;
            }
        }
        AddressRow::read(entry).filter(|row| self.fits(row))
    }

    fn fits(&self, row: &AddressRow) -> bool {
        let ListOptions { selection, states, kinds, owners, .. } = self.options;
        let lease = row.lease.as_known();
        let kind = lease.filter(|lease| lease.state() != LeaseState::Foreign).map(|lease| lease.kind);
        selection.contains(&row.vrf, row.address)
            && (states.is_empty() || states.contains(&row.state()))
            && (kinds.is_empty() || kind.is_some_and(|kind| kinds.contains(&kind)))
            && match &row.lease {
                Stored::Known(lease) => self.fits_lease(lease),
                Stored::Unreadable(_) => !selection.has_names() && owners.is_empty(),
            }
    }

    fn fits_lease(&self, lease: &Lease) -> bool {
        let ListOptions { selection, owners, .. } = self.options;
        // A node has what its attachments hold. Who asks for states also wants what it had.
        let is_on_node = selection.nodes.is_empty() || !by_attachments(self.options) || lease.is_held();
        selection.fits_names(lease)
            && is_on_node
            && (owners.is_empty() || owners.iter().any(|owner| owner.matches(lease)))
    }
}

/// A text escaped as in JSON, without the quotes.
pub(in crate::ops::operator) fn json_text(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
}
