//! The rights of the controller's account: those that lack, those that are too many, and a user who may not ask.

use kube_ipam_e2e::api::{controller_rules, rule};
use serde_json::Value;

use crate::on_each_store;

#[test]
fn rights_that_the_controller_lacks_or_has_too_many_of_are_named() {
    on_each_store("rights_that_the_controller_lacks_or_has_too_many_of_are_named", |cluster| {
        let without = |resource: &str| -> Vec<Value> {
            controller_rules().into_iter().filter(|rule| rule["resources"][0] != resource).collect()
        };
        cluster.api.allows_controller(Some(&without("events")));
        let faults = cluster.faults();
        assert_eq!(faults.len(), 2, "{faults:#?}");
        let lacking =
            "controller-rights warning: ServiceAccount kube-ipam/kube-ipam-controller: it may not list events; ";
        assert!(faults[0].starts_with(lacking), "{faults:#?}");
        let diagnosis = cluster.diagnosis();
        let rule_of_events = r#"add the rule apiGroups [""], resources ["events"], verbs ["list"] to its role"#;
        assert!(
            diagnosis.next("controller-rights").ends_with(rule_of_events),
            "{}",
            diagnosis.next("controller-rights")
        );
        assert_eq!(diagnosis.commands("controller-rights"), ["kubectl edit clusterrole kube-ipam-controller"]);
        cluster.api.allows_controller(Some(&without("leases")));
        let faults = cluster.faults();
        assert_eq!(faults.len(), 3, "{faults:#?}");
        assert!(faults[0].contains("error: ") && faults[0].contains("no controller leads"), "{faults:#?}");
        assert_eq!(
            cluster.diagnosis().commands("controller-rights"),
            ["kubectl -n kube-ipam edit role kube-ipam-controller"]
        );
        let wide: Vec<Value> = controller_rules().into_iter().chain([rule("", "secrets", &["get"], &[])]).collect();
        cluster.api.allows_controller(Some(&wide));
        cluster.fault(
            "controller-rights warning: ServiceAccount kube-ipam/kube-ipam-controller: it may do more than a controller \
             needs: get secrets",
        );
    });
}

#[test]
fn a_user_who_may_not_ask_gets_the_command_for_somebody_who_may() {
    on_each_store("a_user_who_may_not_ask_gets_the_command_for_somebody_who_may", |cluster| {
        cluster.api.allows_controller(None);
        assert_eq!(cluster.faults(), [""; 0]);
        let diagnosis = cluster.diagnosis();
        let line = diagnosis.line("controller-rights");
        assert!(line.starts_with("controller-rights skipped: ") && line.contains("may not impersonate it"), "{line}");
        assert_eq!(
            diagnosis.commands("controller-rights"),
            ["kubectl auth can-i --list --as=system:serviceaccount:kube-ipam:kube-ipam-controller -n kube-ipam"]
        );
    });
}
