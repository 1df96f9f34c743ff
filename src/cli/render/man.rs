//! A manual page of a command, in roff.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// The heading of the examples in a command's help.
const EXAMPLES: &str = "Examples:";

/// The meaning of the exit status, as docs/reference-cli.md has it.
const EXIT_STATUS: [(&str, &str); 3] = [
    ("0", "Success, also when the reader of a pipe closed it early."),
    ("1", "Failure. Standard error gives the reason."),
    ("2", "Invalid arguments."),
];

/// The name of a page's file.
pub(crate) fn file_name(command: &Command) -> String {
    format!("{}.1", name(command))
}

/// The page of a command that has been built.
pub(crate) fn page(command: &Command) -> String {
    let version = crate::cli::command().render_version();
    let man = Man::new(command.clone()).source(version.trim_end());
    let mut page = Vec::new();
    let has_subcommands = command.has_subcommands();
    let sections = [
        man.render_title(&mut page),
        man.render_name_section(&mut page),
        man.render_synopsis_section(&mut page),
        man.render_description_section(&mut page),
        man.render_options_section(&mut page),
        if has_subcommands { man.render_subcommands_section(&mut page) } else { Ok(()) },
        own_sections(command).to_writer(&mut page),
    ];
    // Writing to memory can't fail.
    debug_assert!(sections.iter().all(Result::is_ok));
    String::from_utf8_lossy(&page).into_owned()
}

/// What the generator does not know.
fn own_sections(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in EXIT_STATUS {
        roff.control("TP", []).text([roman(status)]).text([roman(meaning)]);
    }
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let examples: Vec<&str> = help.lines().filter(|line| *line != EXAMPLES).map(str::trim).collect();
    if !examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        examples.into_iter().for_each(|example| {
            roff.text([roman(example)]);
        });
        roff.control("fi", []);
    }
    if name(command) != "kube-ipam" {
        roff.control("SH", ["SEE ALSO"]).text([roman("kube-ipam(1)")]);
    }
    roff
}

fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> Command {
        let mut command = crate::cli::command().disable_help_subcommand(true);
        command.build();
        command
    }

    #[test]
    fn every_command_has_a_page_with_its_sections() {
        let command = built();
        let verbs: Vec<&Command> = command.get_subcommands().collect();
        assert!(verbs.len() > 10);
        for verb in verbs {
            let page = page(verb);
            assert!(page.contains(&format!(".TH kube-ipam-{} 1", verb.get_name())), "{page}");
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "\"EXIT STATUS\"", "\"SEE ALSO\""] {
                assert!(page.contains(&format!("\n.SH {section}\n")), "{section}: {page}");
            }
            let has_examples = verb.get_after_help().is_some();
            assert_eq!(page.contains("\n.SH EXAMPLES\n"), has_examples, "{page}");
            for option in verb.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(page.contains(&format!("\\-\\-{}", option.replace('-', "\\-"))), "{option}: {page}");
            }
        }
        assert_eq!(file_name(&command), "kube-ipam.1");
        assert!(page(&command).contains("kube\\-ipam\\-sweep(1)"));
    }
}
