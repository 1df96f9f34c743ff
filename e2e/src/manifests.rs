//! Renders manifests as users do: the chart with Helm, the examples with kubectl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::api_server::Tenant;
use crate::checkout::root;
use crate::kubernetes::tools;
use crate::{Result, cache, skip};

/// Contains the version of Helm that e2e/setup-kubernetes builds.
const SOURCES: &str = include_str!("../go/helm/go.mod");

/// Helm, with kube-ipam's chart.
pub struct Helm {
    program: PathBuf,
}

impl Helm {
    /// `None`, with the test reported as skipped, if it is not installed.
    pub fn installed_or_skip(test: &str) -> Option<Self> {
        let program = helm();
        if !program.exists() {
            skip(test, &format!("{} does not exist; e2e/setup builds it", program.display()));
            return None;
        }
        Some(Self { program })
    }

    /// The objects of a release with these values in a namespace.
    ///
    /// # Errors
    /// If Helm refuses the values. The error has its words.
    pub fn template(&self, namespace: &str, values: &Value) -> Result<Vec<Value>> {
        let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir()?;
        let file = folder.path().join("values.json");
        fs::write(&file, values.to_string())?;
        let chart = chart().display().to_string();
        let args = ["template", "kube-ipam", &chart, "--namespace", namespace, "--values", &file.display().to_string()];
        documents(&self.run(&args)?)
    }

    /// What Helm finds wrong with the chart itself.
    ///
    /// # Errors
    /// If there is a mistake or a warning.
    pub fn lint(&self) -> Result<String> {
        self.run(&["lint", "--strict", &chart().display().to_string()])
    }

    /// Its notes for whoever installs it with these settings (`--set`) in a tenant's namespace. Installs nothing.
    ///
    /// # Errors
    /// If Helm or the API server refuses it.
    pub fn notes(&self, tenant: &Tenant<'_>, settings: &[&str]) -> Result<String> {
        let chart = chart().display().to_string();
        let mut args = vec!["install", "kube-ipam", &chart, "--dry-run=server"];
        settings.iter().for_each(|setting| args.extend(["--set", setting]));
        let printed = self.run_in(tenant, &args)?;
        Ok(printed.split_once("\nNOTES:\n").ok_or("the release has no notes")?.1.to_owned())
    }

    /// Installs it in a tenant's namespace, or upgrades it there, with these settings.
    ///
    /// # Errors
    /// If Helm or the API server refuses it.
    pub fn upgrade(&self, tenant: &Tenant<'_>, settings: &[&str]) -> Result<()> {
        let chart = chart().display().to_string();
        let mut args = vec!["upgrade", "--install", "kube-ipam", &chart];
        settings.iter().for_each(|setting| args.extend(["--set", setting]));
        self.run_in(tenant, &args).map(drop)
    }

    /// Installs it in a tenant's namespace, where its objects may be there already, applied by somebody else.
    ///
    /// # Errors
    /// If Helm or the API server refuses it.
    pub fn take_over(&self, tenant: &Tenant<'_>) -> Result<()> {
        self.run_in(tenant, &["install", "kube-ipam", &chart().display().to_string(), "--take-ownership"]).map(drop)
    }

    /// Uninstalls it.
    ///
    /// # Errors
    /// If Helm or the API server refuses it.
    pub fn uninstall(&self, tenant: &Tenant<'_>) -> Result<()> {
        self.run_in(tenant, &["uninstall", "kube-ipam"]).map(drop)
    }

    fn run_in(&self, tenant: &Tenant<'_>, args: &[&str]) -> Result<String> {
        let kubeconfig = tenant.owner().kubeconfig.display().to_string();
        self.run(&[args, &["--kubeconfig", &kubeconfig, "--namespace", tenant.namespace()]].concat())
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        // It would keep caches there.
        let home = tempfile::Builder::new().prefix("kube-ipam-").tempdir()?;
        let output = Command::new(&self.program).env_clear().env("HOME", home.path()).args(args).output()?;
        printed(&output, &format!("helm {}", args.join(" ")))
    }
}

/// The program that e2e/setup-kubernetes builds.
pub(crate) fn helm() -> PathBuf {
    let version = SOURCES.split("helm.sh/helm/v3 ").nth(1).and_then(|rest| rest.split_whitespace().next());
    cache().join(format!("helm-{}", version.unwrap_or_default())).join("helm")
}

/// The folder of the chart.
pub fn chart() -> PathBuf {
    root().join("charts/kube-ipam")
}

/// The objects of a folder with a kustomization.
///
/// # Errors
/// If kubectl is not installed, or does not understand it.
pub fn kustomize(folder: &Path) -> Result<Vec<Value>> {
    let output = Command::new(tools::built("kubectl")?).arg("kustomize").arg(folder).output()?;
    documents(&printed(&output, &format!("kubectl kustomize {}", folder.display()))?)
}

fn printed(output: &Output, command: &str) -> Result<String> {
    if !output.status.success() {
        return Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout.clone())?)
}

fn documents(text: &str) -> Result<Vec<Value>> {
    // As Kubernetes reads it: 0400 is a mode.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}
