//! The options about the store that a configuration names.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Format;
use crate::cli::CliError;
use crate::ops::operator::config::{EtcdFiles, StoreOptions};

/// The members of an example.
const EXAMPLE_ENDPOINTS: &str = "https://192.0.2.50:2379,https://192.0.2.58:2379";

/// The folder of the node defaults, and of the files beside them.
const FOLDER: &str = "/etc/cni/net.d/kube-ipam.d";

/// Where the addresses of the network are stored.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Store")]
pub(super) struct ConfigStoreArgs {
    /// The store; node-defaults in a NetworkAttachmentDefinition and etcd in a file, if it is not given
    #[arg(long, value_enum, value_name = "STORE")]
    store: Option<Store>,
    /// The URLs of the members of etcd, separated by commas
    #[arg(long, value_name = "URLS")]
    endpoints: Option<String>,
    /// The CA that signed the certificates of etcd's members, in PEM
    ///
    /// Without this option, it is etcd-ca.pem in the folder of the node defaults.
    #[arg(long, value_name = "FILE")]
    etcd_ca: Option<PathBuf>,
    /// The client's certificate for etcd, in PEM
    ///
    /// Without this option, it is etcd.pem in the folder of the node defaults.
    #[arg(long, value_name = "FILE")]
    etcd_cert: Option<PathBuf>,
    /// The key of the client's certificate, in PEM
    ///
    /// Without this option, it is etcd-key.pem in the folder of the node defaults.
    #[arg(long, value_name = "FILE")]
    etcd_key: Option<PathBuf>,
    /// The folder of the embedded store
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The kubeconfig for reading pods, for a store that is not that of the node defaults
    ///
    /// Without this option, it is kubeconfig in the folder of the node defaults.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Store {
    /// That of the node defaults, with their kubeconfig
    NodeDefaults,
    /// etcd, shared by all nodes
    Etcd,
    /// SQLite, on each node by itself
    Embedded,
}

impl ConfigStoreArgs {
    /// The store. An option that is for one store selects it.
    pub(super) fn resolve(self, format: Format) -> Result<StoreOptions, CliError> {
        let by_format = if format == Format::Yaml { Store::NodeDefaults } else { Store::Etcd };
        let by_option = self.given().into_iter().find_map(|(_, stores)| match stores {
            [only] => Some(*only),
            _ => None,
        });
        let store = self.store.or(by_option).unwrap_or(by_format);
        if let Some((option, _)) = self.given().into_iter().find(|(_, stores)| !stores.contains(&store)) {
            return Err(CliError::Refused(format!("{option} is not for the store {}", store.word())));
        }
        let Self { endpoints, data_dir, kubeconfig, etcd_ca, etcd_cert, etcd_key, .. } = self;
        let or_usual = |file: Option<PathBuf>, name: &str| file.unwrap_or_else(|| Path::new(FOLDER).join(name));
        let kubeconfig = or_usual(kubeconfig, "kubeconfig");
        Ok(match store {
            Store::NodeDefaults => StoreOptions::NodeDefaults,
            Store::Embedded => StoreOptions::Embedded { data_dir, kubeconfig },
            Store::Etcd => {
                let endpoints = endpoints.unwrap_or_else(|| EXAMPLE_ENDPOINTS.to_owned());
                let files = endpoints.contains("https://").then(|| EtcdFiles {
                    cert: or_usual(etcd_cert, "etcd.pem"),
                    key: or_usual(etcd_key, "etcd-key.pem"),
                    ca: or_usual(etcd_ca, "etcd-ca.pem"),
                });
                StoreOptions::Etcd { endpoints, files, kubeconfig }
            }
        })
    }

    /// The options that are given, each with the stores that it is for.
    fn given(&self) -> Vec<(&'static str, &'static [Store])> {
        let options: [(&'static str, bool, &'static [Store]); 6] = [
            ("--endpoints", self.endpoints.is_some(), &[Store::Etcd]),
            ("--etcd-ca", self.etcd_ca.is_some(), &[Store::Etcd]),
            ("--etcd-cert", self.etcd_cert.is_some(), &[Store::Etcd]),
            ("--etcd-key", self.etcd_key.is_some(), &[Store::Etcd]),
            ("--data-dir", self.data_dir.is_some(), &[Store::Embedded]),
            ("--kubeconfig", self.kubeconfig.is_some(), &[Store::Etcd, Store::Embedded]),
        ];
        options.into_iter().filter(|(_, is_given, _)| *is_given).map(|(option, _, stores)| (option, stores)).collect()
    }
}

impl Store {
    /// As it is written on the command line.
    fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
