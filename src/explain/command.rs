//! Commands to paste into a shell.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::ipam::name::Name;

/// A command line, ready to paste into a POSIX shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command(String);

impl Command {
    fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self(words.into_iter().map(quoted).collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Builds commands that use the same store as the running one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// The options that select the store, as given on the command line.
    pub store: Vec<String>,
    /// The kubeconfig that was given on the command line.
    pub kubeconfig: Option<String>,
}

impl Commands {
    /// A command of this program, on an address if it needs a routing domain.
    pub fn kube_ipam(&self, words: &[&str], vrf: Option<&Name>) -> Command {
        let vrf = vrf.map(Name::as_str).filter(|vrf| *vrf != "default");
        let vrf = vrf.into_iter().flat_map(|vrf| ["--vrf", vrf]);
        let store = self.store.iter().map(String::as_str);
        Command::new(["kube-ipam"].into_iter().chain(words.iter().copied()).chain(vrf).chain(store))
    }

    /// A sweep of the cluster with these options.
    pub fn sweep(&self, options: &[&str]) -> Command {
        let words: Vec<&str> = ["sweep"].into_iter().chain(options.iter().copied()).chain(self.kubeconfig()).collect();
        self.kube_ipam(&words, None)
    }

    /// A command of kubectl.
    pub fn kubectl(&self, words: &[&str]) -> Command {
        Command::new(["kubectl"].into_iter().chain(words.iter().copied()).chain(self.kubeconfig()))
    }

    /// Removes a file of this node.
    pub fn remove(&self, file: &str) -> Command {
        Command::new(["rm", "--", file])
    }

    fn kubeconfig(&self) -> impl Iterator<Item = &str> {
        self.kubeconfig.iter().flat_map(|file| ["--kubeconfig", file.as_str()])
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    match !word.is_empty() && word.chars().all(is_safe) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_words_of_a_command_back() -> Result<(), Box<dyn std::error::Error>> {
        let words = ["10.1.0.18", "a b", "it's", "", "$HOME", "`id`", "a;b", "*", "\"", "--data-dir=/x"];
        let text = Command::new(["printf", r"%s\0"].into_iter().chain(words)).to_string();
        let read = std::process::Command::new("sh").args(["-c", &text]).output()?;
        let expected: String = words.iter().map(|word| format!("{word}\0")).collect();
        assert_eq!(String::from_utf8(read.stdout)?, expected, "{text}");
        Ok(())
    }

    #[test]
    fn a_command_names_the_store_and_the_routing_domain_if_they_are_not_the_defaults()
    -> Result<(), Box<dyn std::error::Error>> {
        let given = Commands { store: vec!["--data-dir".to_owned(), "/tmp/a b".to_owned()], kubeconfig: None };
        let words = ["release", "10.1.0.18"];
        for (commands, vrf, expected) in [
            (&Commands::default(), "default", "kube-ipam release 10.1.0.18"),
            (&Commands::default(), "tenant", "kube-ipam release 10.1.0.18 --vrf tenant"),
            (&given, "tenant", "kube-ipam release 10.1.0.18 --vrf tenant --data-dir '/tmp/a b'"),
        ] {
            assert_eq!(commands.kube_ipam(&words, Some(&Name::new(vrf)?)).to_string(), expected);
        }
        Ok(())
    }
}
