//! The metrics about the store, in the text format of Prometheus. The names follow its "Metric and label naming", and
//! docs/reference-metrics.md explains each.
//!
//! A CNI call ends before anyone could scrape it, so the readers of the store count these. The controller's own metrics
//! are in [`crate::controller`].

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::ipam::lease::AllocationKind;
use crate::ipam::usage::{Group, RangeKey, Usage};

/// The text of these collectors, such as [`Usage`].
pub fn text(collectors: impl IntoIterator<Item = Box<dyn Collector>>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    collectors.into_iter().for_each(|collector| registry.register_collector(collector));
    let mut written = String::new();
    text::encode(&mut written, &registry)?;
    Ok(written)
}

impl Collector for Usage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Addresses that are held, reserved, in cooldown or foreign";
        let mut addresses = encoder.encode_descriptor("kube_ipam_addresses", help, None, MetricType::Gauge)?;
        for (Group { key, kind, state, namespace }, count) in self.counts() {
            let [vrf, network, subnet, range] = labels(key);
            let kind = match kind {
                AllocationKind::Dynamic => "dynamic",
                AllocationKind::Fixed => "fixed",
                AllocationKind::Sticky => "sticky",
            };
            let (kind, state) = (("kind", kind.to_owned()), ("state", state.word().to_owned()));
            let namespace = ("namespace", namespace.clone().unwrap_or_default());
            let labels = [vrf, network, subnet, range, kind, state, namespace];
            addresses.encode_family(&labels)?.encode_gauge(count)?;
        }

        let help = "Addresses that a range has to give";
        let mut sizes = encoder.encode_descriptor("kube_ipam_range_addresses", help, None, MetricType::Gauge)?;
        for (key, size) in self.sizes() {
            // An IPv6 range may have more addresses than a float holds exactly. The order of magnitude is enough.
            #[allow(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
            sizes.encode_family(&labels(&key))?.encode_gauge(&(size as f64))?;
        }

        let help = "Leases that this version can't read; their addresses count as held";
        let mut unreadable = encoder.encode_descriptor("kube_ipam_unreadable_leases", help, None, MetricType::Gauge)?;
        for (vrf, count) in self.unreadable() {
            unreadable.encode_family(&[("vrf", vrf.as_str())])?.encode_gauge(count)?;
        }
        Ok(())
    }
}

fn labels(RangeKey { vrf, network, subnet, part }: &RangeKey) -> [(&'static str, String); 4] {
    [
        ("vrf", vrf.to_string()),
        ("network", network.to_string()),
        ("subnet", subnet.map(|subnet| subnet.to_string()).unwrap_or_default()),
        ("range", part.to_string()),
    ]
}
