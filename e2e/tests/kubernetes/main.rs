//! kube-ipam on a real Kubernetes of two nodes, with Multus and without.
//!
//! The trials of a flavour share a cluster, each with a namespace of its own, and those that do something to the cluster
//! itself share another one, one at a time. A trial ends with its pods gone and nothing held. What touches the store runs
//! on both stores: an etcd of kube-ipam's own, and the Kubernetes API (`in_the_api`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's verdict is a panic, and its output is for a person"
)]

mod calico;
mod chart;
mod claims;
mod clock;
mod controller;
mod crowd;
mod doctor;
mod examples;
mod explain;
mod first_hour;
mod fixed;
mod full;
mod interfaces;
mod machines;
mod multus;
mod outage;
mod recovery;
mod sandboxes;
mod shared;
mod sweep;
mod turns;
mod two;
mod upgrade;
mod workloads;
mod zones;

use std::process::ExitCode;

use kube_ipam_e2e::kubernetes::{ClusterNetwork, Flavour};
use libtest_mimic::Arguments;

use crate::shared::Trials;

fn main() -> ExitCode {
    let mut trials = Trials::new(Arguments::from_args());
    // Of those whose cluster is free, the first one runs next. So those that have a cluster for themselves come first.
    add_disturbing_in_the_api(&mut trials);
    add_installed(&mut trials);
    for flavour in [Flavour::ConfDir, Flavour::Multus] {
        trials.add_disturbing(
            flavour,
            "pods_made_and_deleted_around_an_outage_of_the_api_server_are_served_after_it",
            outage::api,
        );
        trials.add(flavour, "a_hundred_pods_at_once_have_distinct_addresses_and_give_all_back", crowd::a_hundred);
        trials.add_disturbing(flavour, "a_node_without_defaults_refuses_pods_and_names_the_file", outage::no_defaults);
        trials.add_disturbing(
            flavour,
            "a_pod_deleted_while_the_program_is_missing_gives_its_addresses_back_when_it_is_there_again",
            outage::no_program,
        );
        trials.add_disturbing(
            flavour,
            "a_lost_node_s_fixed_address_passes_when_its_pod_is_deleted",
            outage::no_kubelet,
        );
        trials.add(flavour, "pods_of_both_nodes_have_an_address_of_their_own_on_each_interface", interfaces::distinct);
        trials.add(flavour, "pods_of_both_nodes_reach_each_other_on_each_interface", interfaces::reachable);
        trials.add(flavour, "a_pod_holds_nothing_for_the_ten_sandboxes_that_it_had_before", interfaces::rebuilt);
        trials.add(flavour, "pods_get_exactly_what_their_annotations_request", fixed::exactly);
        trials.add(
            flavour,
            "a_second_pod_waits_for_a_fixed_address_and_starts_when_it_is_free",
            fixed::refused_until_free,
        );
        trials.add(flavour, "a_pod_waits_for_a_pool_that_is_full_and_starts_when_an_address_is_free", full::pool);
        trials.add(flavour, "a_mistake_in_an_annotation_is_an_event_that_says_what_would_be_right", fixed::mistakes);
        trials.add(flavour, "the_pods_of_a_stateful_set_keep_their_addresses_of_a_pool", workloads::stateful_set);
        trials.add(flavour, "a_rolling_update_goes_through_a_pool_of_replicas_and_surge", workloads::pooled_deployment);
        trials.add(flavour, "the_pods_of_a_job_give_their_addresses_back_when_they_are_done", workloads::job);
        if flavour == Flavour::ConfDir {
            trials.add(
                flavour,
                "a_deployment_with_a_fixed_address_on_the_only_network_keeps_it_or_says_what_to_set",
                workloads::fixed_deployment_on_the_only_network,
            );
            trials.add(
                flavour,
                "annotations_that_the_runtime_hands_over_are_followed_without_an_api_server",
                fixed::from_the_runtime,
            );
            trials.add_disturbing(
                flavour,
                "calls_killed_at_random_while_two_hundred_pods_come_and_go_leave_nothing_that_a_sweep_does_not_find",
                crowd::killed,
            );
            trials.add_disturbing(
                flavour,
                "a_sweep_by_a_list_that_is_stale_forbidden_or_broken_off_frees_nothing_and_by_a_whole_one_what_leaked",
                sweep::spoiled_lists,
            );
            trials.add_disturbing(
                flavour,
                "a_static_pod_keeps_its_addresses_until_its_manifest_is_gone",
                sweep::static_pod,
            );
            trials.add_disturbing(flavour, "pods_of_a_node_that_lost_power_run_again_on_it", outage::no_power);
            trials.add_disturbing(
                flavour,
                "a_pod_whose_sandbox_is_killed_ten_times_keeps_its_address_in_a_range_of_one",
                sandboxes::in_a_range_of_one,
            );
            trials.add_disturbing(
                flavour,
                "pods_of_a_node_that_got_another_name_go_on_and_give_their_addresses_back",
                sandboxes::of_a_renamed_node,
            );
            trials.add_disturbing(flavour, "pods_wait_for_the_store_and_start_when_it_is_back", outage::no_store);
            trials.add_disturbing(
                flavour,
                "pods_wait_for_an_etcd_that_is_full_and_end_without_it_and_start_when_it_has_room",
                full::store,
            );
            trials.add_disturbing(flavour, clock::APART, clock::apart);
            trials.add_disturbing(
                flavour,
                "two_clusters_of_equal_names_on_one_prefix_leave_each_other_s_addresses_alone",
                two::clusters,
            );
        } else {
            trials.add(
                flavour,
                "a_deployment_with_a_fixed_address_keeps_it_or_says_what_to_set",
                workloads::fixed_deployment,
            );
            trials.add(flavour, "an_annotation_for_no_interface_of_the_pod_is_refused", fixed::no_such_interface);
            trials.add(
                flavour,
                "one_annotation_serves_one_interface_and_named_ones_are_distinguished",
                fixed::one_annotation_serves_one_interface,
            );
            trials.add(flavour, "what_multus_requests_is_assigned_or_must_agree", fixed::by_multus);
            trials.add(
                flavour,
                "networks_of_one_subnet_and_one_network_twice_give_distinct_addresses",
                multus::one_subnet,
            );
            trials.add(
                flavour,
                "addresses_are_given_back_though_the_network_was_deleted_before_its_pods",
                multus::deleted,
            );
            trials.add(flavour, "addresses_are_given_back_though_the_network_was_edited_meanwhile", multus::edited);
            trials.add(flavour, "pods_that_name_a_claim_own_its_address_one_after_the_other", claims::of_pods);
            trials.add(
                flavour,
                "the_pods_of_a_machine_own_its_addresses_wherever_it_runs_and_while_it_migrates",
                machines::of_machines,
            );
            trials.add(
                flavour,
                "a_machine_keeps_its_address_or_its_rack_and_shares_it_with_nobody_who_only_says_so",
                machines::between_racks,
            );
            trials.add(flavour, "a_cluster_network_in_a_list_of_configurations_gets_its_addresses_back", multus::list);
        }
    }
    add_in_the_api(&mut trials);
    trials.add_calico(
        ClusterNetwork::Calico,
        "calico_has_eth0_with_its_own_ipam_and_kube_ipam_has_net1",
        calico::beside_its_own_ipam,
    );
    trials.add_calico(
        ClusterNetwork::CalicoWithKubeIpam,
        "calico_asks_kube_ipam_for_the_addresses_of_eth0",
        calico::with_kube_ipam,
    );
    trials.add_chart("pods_notice_neither_an_upgrade_nor_a_rollback_nor_the_end_of_the_release", chart::life);
    trials.run()
}

/// Those on the store in the Kubernetes API that leave their cluster alone.
fn add_in_the_api(trials: &mut Trials) {
    trials.add_in_the_api("a_hundred_pods_at_once_have_distinct_addresses_and_give_all_back", crowd::a_hundred);
    trials.add_in_the_api("pods_of_both_nodes_have_an_address_of_their_own_on_each_interface", interfaces::distinct);
    trials.add_in_the_api("a_pod_holds_nothing_for_the_ten_sandboxes_that_it_had_before", interfaces::rebuilt);
    trials.add_in_the_api("pods_get_exactly_what_their_annotations_request", fixed::exactly);
    trials
        .add_in_the_api("a_second_pod_waits_for_a_fixed_address_and_starts_when_it_is_free", fixed::refused_until_free);
    trials.add_in_the_api("a_pod_waits_for_a_pool_that_is_full_and_starts_when_an_address_is_free", full::pool);
    trials.add_in_the_api("kubectl_shows_the_addresses_of_each_pod", examples::addresses_by_kubectl);
}

/// Those on the same store that have their cluster for themselves.
fn add_disturbing_in_the_api(trials: &mut Trials) {
    trials.add_disturbing_in_the_api(
        "pods_made_and_deleted_around_an_outage_of_the_api_server_are_served_after_it",
        outage::api,
    );
    trials.add_disturbing_in_the_api(
        "calls_killed_at_random_while_two_hundred_pods_come_and_go_leave_nothing_that_a_sweep_does_not_find",
        crowd::killed,
    );
    trials.add_disturbing_in_the_api("doctor_has_nothing_to_say_about_two_healthy_nodes", doctor::healthy);
    trials.add_disturbing_in_the_api("doctor_finds_a_leak_and_its_commands_free_it", doctor::leak);
    trials.add_disturbing_in_the_api("explain_says_who_holds_what_a_pod_waits_for_and_what_ends_that", explain::held);
    trials.add_disturbing_in_the_api(explain::FULL, explain::full);
    trials.add_disturbing_in_the_api(first_hour::PAGE, first_hour::page);
    trials
        .add_disturbing_in_the_api("of_two_controllers_one_collects_and_the_other_when_it_is_killed", controller::two);
    trials.add_disturbing_in_the_api("a_lost_node_s_fixed_address_passes_when_its_pod_is_deleted", outage::no_kubelet);
    trials.add_disturbing_in_the_api(
        "a_sweep_by_a_list_that_is_stale_forbidden_or_broken_off_frees_nothing_and_by_a_whole_one_what_leaked",
        sweep::spoiled_lists,
    );
    trials.add_disturbing_in_the_api("a_static_pod_keeps_its_addresses_until_its_manifest_is_gone", sweep::static_pod);
    trials.add_disturbing_in_the_api(
        "pods_wait_for_an_etcd_that_is_full_and_end_without_it_and_start_when_it_has_room",
        full::store,
    );
    trials.add_disturbing_in_the_api(
        "objects_put_back_one_by_one_take_no_address_from_a_running_pod",
        recovery::of_objects_put_back,
    );
    trials.add_disturbing_in_the_api(
        "a_backup_of_the_cluster_restored_as_documented_takes_no_address_from_a_running_pod",
        recovery::of_the_whole_cluster,
    );
}

/// Those that have an installed cluster with etcd for themselves.
fn add_installed(trials: &mut Trials) {
    trials.add_installed("the_installer_equips_each_node_and_follows_what_the_cluster_says", examples::install);
    trials.add_installed(
        "the_labels_of_a_node_decide_from_which_range_its_pods_draw_and_other_labels_take_nothing_from_them",
        zones::decide,
    );
    trials.add_installed("doctor_has_nothing_to_say_about_two_healthy_nodes", doctor::healthy);
    trials.add_installed("doctor_finds_a_leak_and_its_commands_free_it", doctor::leak);
    trials.add_installed("explain_says_who_holds_what_a_pod_waits_for_and_what_ends_that", explain::held);
    trials.add_installed(explain::FULL, explain::full);
    trials.add_installed("explain_says_what_passes_on_the_addresses_of_a_lost_node", explain::lost_node);
    trials.add_installed("two_layers_meet_in_the_middle_and_nowhere_else", examples::layered);
    trials.add_installed("the_example_of_a_stateful_set_gives_each_pod_its_address", examples::stateful_set);
    trials.add_installed(
        "what_could_not_be_released_while_the_store_was_away_is_released_though_nobody_calls",
        outage::no_store_and_no_later_call,
    );
    trials.add_installed(
        "a_backup_of_etcd_that_nobody_announced_takes_no_address_from_a_running_pod",
        recovery::of_a_backup_that_nobody_announced,
    );
    trials.add_installed(
        "a_backup_of_etcd_restored_as_documented_takes_no_address_from_a_running_pod",
        recovery::of_a_backup_restored_as_documented,
    );
    trials.add_installed("two_versions_take_turns_on_one_store_while_pods_come_and_go", upgrade::in_place);
    trials.add_installed("of_two_controllers_one_collects_and_the_other_when_it_is_killed", controller::two);
}
