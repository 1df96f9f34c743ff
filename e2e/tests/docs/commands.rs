//! What the pages and manifests tell operators to run is a command line that the program takes: verbs, options, values,
//! and what goes together.

use std::path::Path;

use kube_ipam_e2e::checkout::files;
use serde_json::Value;

use super::page::{Place, Snippet, all_pages};
use super::quotes::MIN_WORDS;

/// What stands for the values that differ from case to case.
const SAMPLES: [(&str, &str); 4] =
    [("<ip>", "10.1.0.1"), ("<name>", "db-net"), ("<command>", "list"), ("{{ $labels.network }}", "db-net")];

/// Begins and ends the commands of a line.
const OPERATORS: [&str; 5] = ["|", "||", "&&", ";", ">"];

/// Whether inline code is a command, and not a sentence that begins with the program's name: that has more words, and
/// no verb behind the name.
pub(crate) fn is_command(code: &str) -> bool {
    let mut words = code.split(' ');
    let is_verb = |word: &str| kube_ipam::cli::command().find_subcommand(word).is_some();
    words.next() == Some("kube-ipam") && (words.next().is_some_and(is_verb) || words.count() + 2 < MIN_WORDS)
}

/// Why the program does not take these arguments, if it doesn't. A verb alone may be only its name.
fn refusal(args: &[String]) -> Option<String> {
    if let [verb] = args
        && kube_ipam::cli::command().find_subcommand(verb).is_some()
    {
        return None;
    }
    let args = ["kube-ipam"].into_iter().chain(args.iter().map(String::as_str));
    let error = kube_ipam::cli::command().try_get_matches_from(args).err()?;
    // Help is what some of them ask for.
    error.use_stderr().then(|| error.to_string())
}

/// The words of a shell's line, up to its comment; operators are words of their own.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if word.is_empty() => break,
            (None, ' ' | ';') => {
                words.push(std::mem::take(&mut word));
                words.extend((c == ';').then(|| ";".to_owned()));
            }
            _ => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The arguments of each kube-ipam on a line.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut line = line.strip_prefix("$ ").unwrap_or(line).to_owned();
    for (placeholder, sample) in SAMPLES {
        line = line.replace(placeholder, sample);
    }
    words(&line).split(|word| OPERATORS.contains(&word.as_str())).filter_map(arguments).collect()
}

/// The arguments of a command, if its program is kube-ipam. Without any, it is a file's name; with `CNI_COMMAND`, it is
/// a call.
fn arguments(command: &[String]) -> Option<Vec<String>> {
    let is_option = |word: &&String| word.starts_with('-');
    let (command, added) = match command.iter().position(|word| word == "--") {
        _ if command.first().is_some_and(|word| word == "xargs") => {
            let options = command.iter().skip(1).take_while(is_option).count();
            (&command[1 + options..], Some(SAMPLES[0].1.to_owned()))
        }
        Some(at) => (&command[at + 1..], None),
        None => (command, None),
    };
    let (variables, command) = command.split_at(command.iter().take_while(|word| word.contains('=')).count());
    let (program, args) = command.split_first()?;
    let is_program = Path::new(program).file_name().is_some_and(|name| name == "kube-ipam");
    let is_call = variables.iter().any(|variable| variable.starts_with("CNI_COMMAND="));
    (is_program && !is_call && !args.is_empty()).then(|| args.iter().cloned().chain(added).collect())
}

/// Whether a snippet is what somebody would type.
fn is_typed(snippet: &Snippet<'_>) -> bool {
    match snippet.place {
        Place::Inline => is_command(&snippet.text),
        Place::Block("console") => snippet.text.starts_with("$ "),
        Place::Block(language) => language.is_empty(),
    }
}

/// The arguments that containers of kube-ipam are started and probed with.
fn started(object: &Value, found: &mut Vec<Vec<String>>) {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|arg| arg.as_str().map(str::to_owned)).collect()
    };
    let is_own = object["image"].as_str().is_some_and(|image| image.starts_with("kube-ipam"));
    match object {
        Value::Object(keys) => {
            for (key, value) in keys {
                match key.as_str() {
                    "args" if is_own => found.push(texts(value)),
                    "command" if texts(value).first().is_some_and(|program| program.ends_with("/kube-ipam")) => {
                        found.push(texts(value).split_off(1));
                    }
                    _ => started(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| started(item, found)),
        _ => {}
    }
}

#[test]
fn every_command_on_the_pages_is_one_that_the_program_takes() {
    let (mut stale, mut seen) = (Vec::new(), 0);
    for page in all_pages() {
        for snippet in page.snippets().into_iter().filter(is_typed) {
            for args in commands(snippet.text.trim_start()) {
                seen += 1;
                stale
                    .extend(refusal(&args).map(|why| format!("{snippet}\n    {}", why.trim().replace('\n', "\n    "))));
            }
        }
    }
    assert!(seen > 80, "only {seen} commands were found");
    assert!(stale.is_empty(), "kube-ipam does not take these; write them as its --help says:\n{}", stale.join("\n"));
}

#[test]
fn every_container_of_the_manifests_is_started_with_arguments_that_the_program_takes() {
    let mut seen = 0;
    for path in files("examples", ".yaml") {
        let text = std::fs::read_to_string(&path).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let mut found = Vec::new();
        documents.iter().for_each(|document| started(document, &mut found));
        for args in &found {
            let why = refusal(args);
            assert_eq!(why, None, "{}: {args:?}: write them as --help says", path.display());
        }
        seen += found.len();
    }
    assert!(seen >= 4, "only {seen} containers were found");
}

#[test]
fn a_command_is_read_as_a_shell_reads_it() {
    let args = |line: &str| commands(line).iter().map(|args| args.join(" ")).collect::<Vec<_>>();
    assert_eq!(args("$ kube-ipam list -o json | jq '.[] | kube-ipam' # kube-ipam"), ["list -o json"]);
    assert_eq!(args("xargs -rn1 kube-ipam release --yes"), ["release --yes 10.1.0.1"]);
    assert_eq!(args("kubectl -n kube-ipam exec daemonset/kube-ipam -- /kube-ipam list"), ["list"]);
    assert_eq!(args("A=1 kube-ipam version; /opt/cni/bin/kube-ipam release <ip>"), ["version", "release 10.1.0.1"]);
    assert_eq!(args("jq . db-net.json | CNI_COMMAND=STATUS kube-ipam; echo $?"), [""; 0]);
    assert!(refusal(&["sweep".to_owned(), "--no-such-option".to_owned()]).is_some());
    assert!(refusal(&["release".to_owned(), "--yes".to_owned()]).is_some());
    assert_eq!(refusal(&["sweep".to_owned(), "--help".to_owned()]), None);
}
