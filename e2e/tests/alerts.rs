//! The alerts for Prometheus: their expressions parse, are about what kube-ipam counts, and lead to a page.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;

use kube_ipam_e2e::checkout::root;
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;

/// Where an alert leads whoever it wakes.
const PAGE: &str = "https://github.com/cloudnativer/kube-ipam/blob/main/docs/alerts.md#";

/// What is counted by others: the metric and its labels.
const OF_OTHERS: [&str; 2] = ["node_textfile_mtime_seconds", "file"];

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn alerts() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read("examples/prometheus/alerts.yaml")).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn text<'a>(alert: &'a Value, pointer: &str) -> &'a str {
    alert.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{alert}: no {pointer}"))
}

/// The metrics and labels of an expression.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl Names {
    fn of(expr: &Expr) -> Self {
        let mut names = Self::default();
        let Ok(_) = walk_expr(&mut names, expr);
        names
    }

    fn select(&mut self, selector: &VectorSelector) {
        self.0.extend(selector.name.clone());
        self.0.extend(selector.matchers.matchers.iter().map(|matcher| matcher.name.clone()));
    }

    fn group(&mut self, modifier: Option<&LabelModifier>) {
        self.0.extend(modifier.into_iter().flat_map(|modifier| modifier.labels().labels.clone()));
    }
}

impl ExprVisitor for Names {
    type Error = Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Infallible> {
        match expr {
            Expr::VectorSelector(selector) => self.select(selector),
            Expr::MatrixSelector(matrix) => self.select(&matrix.vs),
            Expr::Aggregate(aggregate) => self.group(aggregate.modifier.as_ref()),
            Expr::Binary(binary) => {
                self.group(binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()));
            }
            _ => {}
        }
        Ok(true)
    }
}

/// Asserts that Prometheus understands a query, and that its names are on the page of the metrics. The names there are
/// those of the code (`e2e/tests/docs`).
fn assert_understood(whose: &str, query: &str) {
    let expr = parser::parse(query).unwrap_or_else(|error| panic!("{whose}: {error}: {query}"));
    let page = read("docs/reference-metrics.md");
    let names = Names::of(&expr).0;
    assert!(names.iter().any(|name| name.starts_with("kube_ipam_")), "{whose}: {query}");
    for name in names.iter().filter(|name| !OF_OTHERS.contains(&name.as_str())) {
        assert!(page.contains(&format!("`{name}`")), "{whose}: there is no {name}");
    }
}

#[test]
fn prometheus_understands_every_alert_and_counts_what_it_is_about() {
    let alerts = alerts();
    assert!(alerts.len() >= 8);
    for alert in &alerts {
        assert_understood(text(alert, "/alert"), text(alert, "/expr"));
    }
}

#[test]
fn prometheus_understands_every_query_of_the_pages() {
    for page in ["docs/reference-metrics.md", "docs/alerts.md"] {
        let found = read(page);
        let queries: Vec<&str> =
            found.split("\n```text\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
        assert!(!queries.is_empty(), "{page}");
        queries.iter().for_each(|query| assert_understood(page, query));
    }
}

#[test]
fn every_alert_says_what_to_do_and_has_its_section_on_the_page() {
    let page = read("docs/alerts.md");
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let alerts = alerts();
    let names: Vec<&str> = alerts.iter().map(|alert| text(alert, "/alert")).collect();
    assert_eq!(sections, names);
    for (alert, name) in alerts.iter().zip(names) {
        for key in ["summary", "description"] {
            assert!(!text(alert, &format!("/annotations/{key}")).is_empty(), "{name}: {key}");
        }
        assert_eq!(text(alert, "/annotations/runbook_url"), format!("{PAGE}{}", name.to_lowercase()));
        let (number, unit) = text(alert, "/for").split_at(text(alert, "/for").len() - 1);
        let unit = if unit == "h" { "hour" } else { "minute" };
        let after = format!("{number} {unit}{}", if number == "1" { "" } else { "s" });
        let row = format!("| [{name}](#{}) | {} | {after} |", name.to_lowercase(), text(alert, "/labels/severity"));
        assert!(page.contains(&row), "docs/alerts.md has no row {row}");
    }
}
