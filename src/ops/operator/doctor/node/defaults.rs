//! `node-defaults`: whether the node defaults are found, can be read, and would be accepted by an ADD.

use serde_json::{Map, Value};

use crate::cause::chain;
use crate::config::{check_defaults, locked_keys, read_defaults};
use crate::explain::Tool;
use crate::ops::operator::doctor::{Context, Outcome, Remedy};

/// Where the file comes from.
const SOURCE: &str = "correct it in the ConfigMap of the installer, or in the file if nobody else writes it";

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let file = &context.options.defaults;
    let object = file.display().to_string();
    match read_defaults(file) {
        Ok(Some(defaults)) => check_content(context, &defaults, report),
        Ok(None) => report(Outcome::warning(
            &object,
            format!("there are no node defaults at {object}, so every configuration chooses its own store"),
            Remedy::new(
                "on Kubernetes, look why the installer has not written them; elsewhere, write them by hand, \
                 at least {\"store\": \"embedded\"}",
            )
            .command(context.options.commands.own_pods()),
        )),
        Err(mistake) => report(Outcome::error(
            &object,
            format!("no ADD works on this node: {}", chain(&mistake)),
            Remedy::new(SOURCE).command(Tool::Ls.run(&["-l", &object])),
        )),
    }
}

fn check_content(context: &Context<'_>, defaults: &Map<String, Value>, report: &mut dyn FnMut(Outcome)) {
    let file = &context.options.defaults;
    let warnings = match check_defaults(file, defaults) {
        Ok(mut warnings) => {
            warnings.retain(|warning| !context.is_of_transport(warning));
            warnings
        }
        Err(mistakes) => {
            for mistake in &mistakes.0 {
                report(Outcome::error(&mistake.key, chain(mistake).to_string(), Remedy::new(SOURCE)));
            }
            return;
        }
    };
    for warning in &warnings {
        let (key, message) = (warning.key(), chain(warning).to_string());
        report(match warning.is_mistake() {
            true => Outcome::error(key, message, Remedy::new(SOURCE)),
            false => Outcome::warning(key, message, Remedy::new(SOURCE)),
        });
    }
    if warnings.is_empty() {
        let object = file.display().to_string();
        let locked = match locked_keys(file, defaults).as_slice() {
            [] => "blocks may set every key".to_owned(),
            keys => format!("blocks may not set {}", keys.join(", ")),
        };
        report(Outcome::ok(&object, format!("{object} is valid; {locked}")));
    }
}
