//! Commands to paste into a shell.
//!
//! ```text
//!  kube-ipam, kubectl ─► Commands, with the options of this run ─┐
//!  any other program  ─► Tool                                    ┴► Command ─► a line that a shell reads
//! ```
//!
//! There is no other way to a [`Command`], so that none of kube-ipam forgets the store of the run.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::ipam::name::Name;

/// The kubeconfig of an administrator, where `kubectl` looks for it. Unquoted, so that the shell finds the home.
const ADMIN_KUBECONFIG: &str = "~/.kube/config";

/// A command line, ready to paste into a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command(String);

impl Command {
    fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self(words.into_iter().map(quoted).collect::<Vec<_>>().join(" "))
    }

    /// Passes its output to another command.
    #[must_use]
    pub fn piped_to(self, next: &Self) -> Self {
        Self(format!("{self} | {next}"))
    }

    /// Redirects its input or output, in the words of a shell.
    #[must_use]
    pub fn redirected(self, redirections: &'static str) -> Self {
        Self(format!("{self} {redirections}"))
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

#[cfg(test)]
impl PartialEq<&str> for Command {
    fn eq(&self, line: &&str) -> bool {
        self.0 == *line
    }
}

/// A program that needs no options of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named like its program")]
pub enum Tool {
    Cat,
    Chmod,
    Chown,
    Crictl,
    Date,
    Df,
    Dmesg,
    Etcdctl,
    Grep,
    Jq,
    Ls,
    Openssl,
    Rm,
    Sqlite3,
    Tail,
    Timedatectl,
}

impl Tool {
    /// The command that runs it with these arguments.
    pub fn run(self, arguments: &[&str]) -> Command {
        Command::new([self.name()].into_iter().chain(arguments.iter().copied()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Cat => "cat",
            Self::Chmod => "chmod",
            Self::Chown => "chown",
            Self::Crictl => "crictl",
            Self::Date => "date",
            Self::Df => "df",
            Self::Dmesg => "dmesg",
            Self::Etcdctl => "etcdctl",
            Self::Grep => "grep",
            Self::Jq => "jq",
            Self::Ls => "ls",
            Self::Openssl => "openssl",
            Self::Rm => "rm",
            Self::Sqlite3 => "sqlite3",
            Self::Tail => "tail",
            Self::Timedatectl => "timedatectl",
        }
    }
}

/// Builds commands of kube-ipam and kubectl that use the same store and API server as the running one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// The options that select the store, as given on the command line.
    pub store: Vec<String>,
    /// Whether the kubeconfig reaches the store too.
    pub is_store_of_api: bool,
    /// The kubeconfig that was given on the command line.
    pub kubeconfig: Option<String>,
    /// The options that select the node's folders, for `doctor` alone.
    pub folders: Vec<String>,
}

impl Commands {
    /// A command of this program, on an address if it needs a routing domain.
    pub fn kube_ipam(&self, words: &[&str], vrf: Option<&Name>) -> Command {
        let vrf = vrf.map(Name::as_str).filter(|vrf| *vrf != "default");
        let vrf = vrf.into_iter().flat_map(|vrf| ["--vrf", vrf]);
        let reaches_store = self.is_store_of_api && !words.contains(&"--kubeconfig");
        let kubeconfig = self.kubeconfig().filter(|_| reaches_store);
        let words = ["kube-ipam"].into_iter().chain(words.iter().copied());
        Command::new(words.chain(vrf).chain(kubeconfig).chain(self.store()))
    }

    /// A sweep with these options. That of a node asks no API server.
    pub fn sweep(&self, options: &[&str]) -> Command {
        let is_of_node = options.iter().any(|option| ["--node", "--marked"].contains(option));
        let kubeconfig = self.kubeconfig().filter(|_| !is_of_node);
        let words: Vec<&str> = ["sweep"].into_iter().chain(options.iter().copied()).chain(kubeconfig).collect();
        self.kube_ipam(&words, None)
    }

    /// How far a recovery is, or its end. The API server knows which nodes are missing.
    pub fn recovery(&self, options: &[&str]) -> Command {
        let words: Vec<&str> =
            ["recovery"].into_iter().chain(options.iter().copied()).chain(self.kubeconfig()).collect();
        self.kube_ipam(&words, None)
    }

    /// The same checks again, with these options in addition.
    pub fn doctor(&self, options: &[&str]) -> Command {
        self.doctor_of("kube-ipam", options)
    }

    /// The checks of another program file.
    pub fn doctor_of(&self, program: &str, options: &[&str]) -> Command {
        let words = [program, "doctor"].into_iter().chain(options.iter().copied());
        Command::new(words.chain(self.kubeconfig()).chain(self.folders()).chain(self.store()))
    }

    /// The same checks with the kubeconfig of an administrator.
    pub fn doctor_as_admin(&self) -> Command {
        let rest = Command::new(self.folders().chain(self.store()));
        let command = format!("kube-ipam doctor --kubeconfig {ADMIN_KUBECONFIG} {rest}");
        Command(command.trim_end().to_owned())
    }

    /// The checks with the kubeconfig of the node, instead of the one that was given.
    pub fn doctor_as_node(&self) -> Command {
        Self { kubeconfig: None, ..self.clone() }.doctor(&[])
    }

    /// A plan of one file, with the node defaults if there are any. It needs no store.
    pub fn plan(&self, file: &str, defaults: Option<&str>) -> Command {
        let defaults = defaults.into_iter().flat_map(|file| ["--config", file]);
        Command::new(["kube-ipam", "plan", "-f", file].into_iter().chain(defaults))
    }

    /// A command that is meant for another node, whose defaults name the store and the API server.
    pub fn on_other_node(&self, words: &[&str]) -> Command {
        Command::new(["kube-ipam"].into_iter().chain(words.iter().copied()))
    }

    /// A command of kubectl.
    pub fn kubectl(&self, words: &[&str]) -> Command {
        Command::new(["kubectl"].into_iter().chain(words.iter().copied()).chain(self.kubeconfig()))
    }

    /// Lists the pods of the installer and of the controller.
    pub fn own_pods(&self) -> Command {
        self.kubectl(&["-n", "kube-ipam", "get", "pods", "-o", "wide"])
    }

    /// Removes a file of this node.
    pub fn remove(&self, file: &str) -> Command {
        Tool::Rm.run(&["--", file])
    }

    fn store(&self) -> impl Iterator<Item = &str> {
        self.store.iter().map(String::as_str)
    }

    fn folders(&self) -> impl Iterator<Item = &str> {
        self.folders.iter().map(String::as_str)
    }

    fn kubeconfig(&self) -> impl Iterator<Item = &str> {
        self.kubeconfig.iter().flat_map(|file| ["--kubeconfig", file.as_str()])
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    if word.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    // The terminal that shows the command would act on a control character, so the shell has to make it.
    let bytes: String = word.bytes().map(quoted_byte).collect();
    format!("$'{bytes}'")
}

/// A byte inside `$'…'`, which bash and POSIX 2024 (XCU 2.2.4) read.
fn quoted_byte(byte: u8) -> String {
    match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        byte => format!("\\{byte:03o}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_words_of_a_command_back() -> Result<(), Box<dyn std::error::Error>> {
        let words = [
            "10.1.0.18",
            "a b",
            "it's",
            "",
            "$HOME",
            "`id`",
            "a;b",
            "*",
            "\"",
            "--data-dir=/x",
            "a\nb",
            "\u{1b}[31m\u{9b}\u{202e}",
            "ä'\\\t",
            "~",
        ];
        let text = Command::new(["printf", r"%s\0"].into_iter().chain(words)).to_string();
        assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text}");
        let read = std::process::Command::new("bash").args(["-c", &text]).output()?;
        let expected: String = words.iter().map(|word| format!("{word}\0")).collect();
        assert_eq!(String::from_utf8(read.stdout)?, expected, "{text}");
        Ok(())
    }

    #[test]
    fn a_command_names_the_store_and_the_routing_domain_if_they_are_not_the_defaults()
    -> Result<(), Box<dyn std::error::Error>> {
        let given = Commands { store: vec!["--data-dir".to_owned(), "/tmp/a b".to_owned()], ..Commands::default() };
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

    #[test]
    fn each_verb_gets_the_options_of_the_run_that_it_takes() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        let given = Commands {
            store: words("--store http://192.0.2.1:2379"),
            is_store_of_api: false,
            kubeconfig: Some("/root/admin".to_owned()),
            folders: words("--cni-dir /n"),
        };
        let of_api = Commands { store: words("--store kubernetes://pods"), is_store_of_api: true, ..given.clone() };
        for (command, expected) in [
            (given.sweep(&[]), "kube-ipam sweep --kubeconfig /root/admin --store http://192.0.2.1:2379"),
            (given.sweep(&["--node"]), "kube-ipam sweep --node --store http://192.0.2.1:2379"),
            (
                given.doctor(&["--node"]),
                "kube-ipam doctor --node --kubeconfig /root/admin --cni-dir /n --store http://192.0.2.1:2379",
            ),
            (
                given.doctor_as_admin(),
                "kube-ipam doctor --kubeconfig ~/.kube/config --cni-dir /n --store http://192.0.2.1:2379",
            ),
            (given.doctor_as_node(), "kube-ipam doctor --cni-dir /n --store http://192.0.2.1:2379"),
            (given.plan("/n/a.conf", Some("/n/d.json")), "kube-ipam plan -f /n/a.conf --config /n/d.json"),
            (given.on_other_node(&["sweep", "--node"]), "kube-ipam sweep --node"),
            (given.kube_ipam(&["list"], None), "kube-ipam list --store http://192.0.2.1:2379"),
            (of_api.kube_ipam(&["list"], None), "kube-ipam list --kubeconfig /root/admin --store kubernetes://pods"),
            (of_api.sweep(&["--node"]), "kube-ipam sweep --node --kubeconfig /root/admin --store kubernetes://pods"),
            (of_api.sweep(&[]), "kube-ipam sweep --kubeconfig /root/admin --store kubernetes://pods"),
            (given.kubectl(&["get", "pods"]), "kubectl get pods --kubeconfig /root/admin"),
        ] {
            assert_eq!(command.to_string(), expected);
        }
        assert_eq!(Commands::default().doctor_as_admin().to_string(), "kube-ipam doctor --kubeconfig ~/.kube/config");
    }
}
