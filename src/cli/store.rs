//! The store of a verb.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value};

use super::CliError;
use crate::config::{self, CallSettings, LoadedConfig, Purpose};
use crate::error::Error;
use crate::ipam::name::Name;
use crate::store::StoreConfig;

/// How `--store` begins for custom resources; their namespace follows.
const KUBERNETES: &str = "kubernetes://";

/// Which store a verb is about: that of the node defaults, unless an option names another.
#[derive(Clone, Debug, Args)]
pub(super) struct StoreArgs {
    /// The folder of an embedded store, a comma list of the URLs of an etcd (its credentials come from the node
    /// defaults), or `kubernetes://NAMESPACE` for custom resources, which --kubeconfig or that of the node defaults reaches
    #[arg(long, value_name = "DIR|URLS", conflicts_with = "data_dir")]
    store: Option<String>,
    /// The folder of an embedded store
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data_dir: Option<PathBuf>,
    /// A network configuration (with an ipam block) that names the store
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The result of the node defaults and the flags.
pub(super) struct Resolved {
    pub settings: CallSettings,
    pub store: StoreConfig,
}

impl StoreArgs {
    /// The store of these options, for a verb whose --config is another file.
    pub(super) fn named(store: Option<String>, data_dir: Option<PathBuf>) -> Self {
        Self { store, data_dir, config: None }
    }

    /// Reads the node defaults and chooses the store. A kubeconfig that an option names replaces those of the defaults.
    /// Fails if it or an embedded store does not exist: a verb that reads must not create one.
    pub(super) fn resolve(&self, kubeconfig: Option<&Path>) -> Result<Resolved, CliError> {
        self.resolve_in(kubeconfig, &variable)
    }

    /// The same, in another environment.
    pub(super) fn resolve_in(
        &self,
        kubeconfig: Option<&Path>,
        env: &impl Fn(&str) -> Option<String>,
    ) -> Result<Resolved, CliError> {
        let kubeconfig = kubeconfig.map(existing).transpose()?;
        let LoadedConfig { settings, network, .. } = self.load_in(kubeconfig.as_deref(), env)?;
        let store = settings.store.clone().map_err(Error::Config)?;
        // Using another store than the one that the file names would answer a different question.
        if let Some(locked) =
            network.err().and_then(|mistakes| mistakes.about_locked_store()).filter(|_| self.store.is_none())
        {
            return Err(Error::Config(locked).into());
        }
        if let StoreConfig::Embedded { data_dir } = &store
            && !data_dir.is_dir()
        {
            return Err(CliError::Refused(format!(
                "there is no store in {}; choose one with --data-dir, with --config, or in the node defaults ({})",
                data_dir.display(),
                config::defaults_file(env).display()
            )));
        }
        Ok(Resolved { settings, store })
    }

    /// Reads the node defaults and the flags. A mistake in the configuration is part of the result.
    pub(super) fn load(&self, kubeconfig: Option<&Path>) -> Result<LoadedConfig, CliError> {
        self.load_in(kubeconfig, &variable)
    }

    fn load_in(
        &self,
        kubeconfig: Option<&Path>,
        env: &impl Fn(&str) -> Option<String>,
    ) -> Result<LoadedConfig, CliError> {
        let document = self.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let name = Name::new("command-line").map_err(|error| CliError::unusable("command-line", error))?;
        let mut loaded = config::load(&document, &name, env, Purpose { add: true, pod: false });
        if let Some(kubeconfig) = kubeconfig {
            loaded.settings.use_kubeconfig(kubeconfig);
        }
        let embedded = |folder: &Path| std::path::absolute(folder).map(|data_dir| StoreConfig::Embedded { data_dir });
        match (&self.store, &self.data_dir) {
            (Some(place), _) if place.starts_with(KUBERNETES) => {
                let namespace = place.trim_start_matches(KUBERNETES);
                let found = config::kubernetes_in(namespace, &loaded.settings.kubeconfigs);
                let kubernetes = found.map_err(|problem| CliError::unusable("--store", problem))?;
                loaded.settings.store = Ok(StoreConfig::Kubernetes(kubernetes));
            }
            (Some(urls), _) if urls.contains("://") => {
                let defaults = match &loaded.settings.store {
                    Ok(StoreConfig::Etcd(etcd)) => Some(etcd),
                    _ => None,
                };
                let etcd = config::etcd_at(urls, defaults).map_err(|problem| CliError::unusable("--store", problem))?;
                loaded.settings.store = Ok(StoreConfig::Etcd(etcd));
            }
            (Some(folder), _) => loaded.settings.store = Ok(embedded(Path::new(folder))?),
            (None, Some(folder)) => loaded.settings.store = Ok(embedded(folder)?),
            (None, None) => {}
        }
        Ok(loaded)
    }

    /// The network configuration that names the store.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The document in that file.
    pub(super) fn document(&self) -> Result<Option<Map<String, Value>>, CliError> {
        self.config.as_deref().map(read).transpose()
    }

    /// The options for a command that uses the same store, from whatever folder it is run.
    pub(super) fn flags(&self) -> Result<Vec<String>, CliError> {
        let absolute = |path: &Path| {
            let path = std::path::absolute(path).map_err(|error| CliError::unusable(path.display(), error))?;
            Ok::<_, CliError>(path.display().to_string())
        };
        let store = match self.store.as_deref() {
            Some(urls) if urls.contains("://") => Some(urls.to_owned()),
            folder => folder.map(Path::new).map(absolute).transpose()?,
        };
        let data_dir = self.data_dir.as_deref().map(absolute).transpose()?;
        let config = self.config.as_deref().map(absolute).transpose()?;
        let options = [("--store", store), ("--data-dir", data_dir), ("--config", config)];
        let given = options.into_iter().filter_map(|(option, value)| Some([option.to_owned(), value?]));
        Ok(given.flatten().collect())
    }
}

/// A variable of the environment.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The path of an option's kubeconfig. Fails if the file does not exist.
fn existing(kubeconfig: &Path) -> Result<PathBuf, CliError> {
    match kubeconfig.exists() {
        true => Ok(kubeconfig.to_owned()),
        false => Err(CliError::Refused(format!("there is no kubeconfig at {}", kubeconfig.display()))),
    }
}

fn read(file: &Path) -> Result<Map<String, Value>, CliError> {
    let text = std::fs::read_to_string(file).map_err(|error| CliError::unusable(file.display(), error))?;
    serde_json::from_str(&text).map_err(|error| CliError::unusable(file.display(), error))
}
