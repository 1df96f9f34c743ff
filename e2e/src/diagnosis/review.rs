//! What holds for every result of `kube-ipam doctor`, whatever it is about: its commands work when they are pasted, on the
//! store and the API server of the run, and its line names nothing twice.

use std::process::Command;

use serde_json::Value;

/// The options of a run that its commands repeat.
const REPEATED: [&str; 6] = ["--store", "--data-dir", "--config", "--kubeconfig", "--cni-dir", "--bin-dir"];

/// Commands that are meant for another node, whose defaults name the store, by check.
const ON_ANOTHER_NODE: [(&str, &str); 5] = [
    ("attachments", "kube-ipam sweep --node"),
    ("recovery", "kube-ipam sweep --node"),
    ("pod-addresses", "kube-ipam sweep --node"),
    ("pod-addresses", "kube-ipam doctor"),
    ("api-rights", "kube-ipam doctor"),
];

/// Reviews the results of a run with these options. Returns how many commands of kube-ipam they have.
///
/// # Panics
/// If a result is not as it has to be.
pub fn review(results: &[Value], options: &[String]) -> usize {
    let mut own = 0;
    for result in results {
        let text = |key: &str| result[key].as_str().unwrap_or_default();
        let (check, message) = (text("check"), text("message"));
        let (first, _) = message.split_once(": ").unwrap_or_default();
        assert!(first != check && check.split('-').all(|part| first != part), "{check}: {message}: named twice");
        for command in result["remedy"]["commands"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let program = command.split(' ').next().and_then(|path| path.rsplit('/').next());
            match program {
                Some("kube-ipam") => {
                    let words = words(command);
                    takes(&words);
                    if !ON_ANOTHER_NODE.contains(&(check, command)) {
                        own += 1;
                        repeats(check, &words, options);
                    }
                }
                Some("kubectl") => {
                    let words = words(command);
                    given(options, "--kubeconfig").for_each(|file| has(&words, "--kubeconfig", file));
                }
                // Its options are its own, and it may redirect what it writes.
                _ => {}
            }
        }
    }
    own
}

/// The words of the first command of a line, as a shell reads them.
fn words(line: &str) -> Vec<String> {
    let command = line.split(" | ").next().unwrap_or(line);
    let script = format!("set -- {command}\nprintf '%s\\0' \"$@\"");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap_or_else(|error| panic!("bash: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// Checks that kube-ipam takes these arguments.
fn takes(words: &[String]) {
    if let Err(error) = kube_ipam::cli::command().try_get_matches_from(words) {
        panic!("{words:?}: {error}");
    }
}

/// Checks that the command has each option of the run that its verb takes.
fn repeats(check: &str, words: &[String], options: &[String]) {
    let verb = words[1].as_str();
    let has_word = |word: &str| words.iter().any(|found| found == word);
    for option in REPEATED {
        let is_of_other = match option {
            // It reads the node defaults alone. It has neither a store nor an API server without --live.
            _ if verb == "plan" => true,
            // It reads networks and pods only to say who could get an address.
            "--kubeconfig" | "--cni-dir" if verb == "list" => !has_word("--free"),
            "--kubeconfig" | "--cni-dir" if verb == "usage" => !has_word("--map"),
            // It reads the API server only for whom an address is reserved.
            "--kubeconfig" if verb == "reserve" => !has_word("--for"),
            // This sweep asks no API server.
            "--kubeconfig" if has_word("--node") || has_word("--marked") => verb == "sweep",
            // The kubeconfig of the run is what has to be another one.
            "--kubeconfig" if verb == "doctor" && check == "api-rights" => true,
            "--kubeconfig" if verb == "doctor" => words.iter().any(|word| word.ends_with("/.kube/config")),
            _ => false,
        };
        let command = kube_ipam::cli::command();
        let taken = command.find_subcommand(verb).into_iter().flat_map(clap::Command::get_arguments);
        let is_taken = taken.filter_map(clap::Arg::get_long).any(|long| option.strip_prefix("--") == Some(long));
        if is_taken && !is_of_other {
            given(options, option).for_each(|value| has(words, option, value));
        }
    }
}

/// The values of an option.
fn given<'a>(options: &'a [String], option: &'a str) -> impl Iterator<Item = &'a str> {
    options.windows(2).filter(move |pair| pair[0] == option).map(|pair| pair[1].as_str())
}

fn has(words: &[String], option: &str, value: &str) {
    assert!(words.windows(2).any(|pair| pair[0] == option && pair[1] == value), "{words:?} lacks {option} {value}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reviewed(check: &str, message: &str, command: &str) -> bool {
        let result = json!({ "check": check, "message": message, "remedy": { "commands": [command] } });
        let options = ["--store", "/s", "--kubeconfig", "/k"].map(str::to_owned);
        std::panic::catch_unwind(|| review(&[result], &options)).is_ok()
    }

    #[test]
    fn a_command_that_forgets_an_option_and_a_line_that_repeats_its_check_are_refused() {
        for (check, message, command, is_right) in [
            ("leaks", "none has leaked", "kube-ipam sweep --dry-run --kubeconfig /k --store /s", true),
            ("leaks", "none has leaked", "kube-ipam sweep --dry-run --store /s", false),
            ("leaks", "none has leaked", "kube-ipam sweep --dry-run --kubeconfig /k", false),
            ("leaks", "none has leaked", "kube-ipam sweep --dry-runs --kubeconfig /k --store /s", false),
            ("leaks", "leaks: none", "kube-ipam sweep --node --store /s", false),
            ("etcd-tls", "etcd: none", "kube-ipam sweep --node --store /s", false),
            ("recovery", "SQLite in /s: none", "kube-ipam sweep --node", true),
            ("leaks", "none has leaked", "kube-ipam sweep --node", false),
            ("installer", "none", "kube-ipam doctor --kubeconfig ~/.kube/config --store /s", true),
            ("installer", "none", "kubectl get pods", false),
            ("installer", "none", "kubectl get pods --kubeconfig /k | grep kube-ipam", true),
        ] {
            assert_eq!(reviewed(check, message, command), is_right, "{check}: {message}: {command}");
        }
    }
}
