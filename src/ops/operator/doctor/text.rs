//! Texts that several checks print: commands that a shell can read, and times as people say them.

use jiff::Timestamp;

/// A word of a command, quoted for a shell if it needs that.
pub(super) fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=,@+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    // The terminal that shows the command would act on a control character, so the shell has to make it.
    let quoted: String = text.bytes().map(quote_byte).collect();
    format!("$'{quoted}'")
}

/// A byte inside `$'…'`, which bash and POSIX 2024 (XCU 2.2.4) read.
fn quote_byte(byte: u8) -> String {
    match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        byte => format!("\\{byte:03o}"),
    }
}

/// The time between two instants, in its largest unit: `42 seconds`, `7 minutes`, `3 hours`, `12 days`.
pub(super) fn time_between(one: Timestamp, other: Timestamp) -> String {
    let seconds = one.as_second().abs_diff(other.as_second());
    match seconds {
        1 => "1 second".to_owned(),
        0..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A number of things: `1 address`, `2 addresses`.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The first of many, and how many more there are.
pub(super) fn first_of(all: &[String]) -> String {
    /// As many as fit a line or two.
    const SHOWN: usize = 3;
    match all.split_at(all.len().min(SHOWN)) {
        (shown, []) => shown.join(", "),
        (shown, more) => format!("{} and {} more", shown.join(", "), more.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_word_as_the_text() -> std::io::Result<()> {
        let texts = [
            "/etc/cni/net.d/kube-ipam.d",
            "",
            "a b",
            "it's",
            "$(id)",
            "a\nb",
            "\u{1b}[31m\u{9b}\u{202e}",
            "ä'\\\t",
            "~",
        ];
        for text in texts {
            let script = format!("printf %s {}", shell_word(text));
            let output = std::process::Command::new("bash").args(["-c", &script]).output()?;
            assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{script}");
            assert!(shell_word(text).bytes().all(|byte| matches!(byte, b' '..=b'~')), "{script}");
        }
        Ok(())
    }

    #[test]
    fn times_and_numbers_are_written_as_people_say_them() -> Result<(), jiff::Error> {
        let at = Timestamp::from_second;
        for (seconds, text) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7_200, "2 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(time_between(at(1_000_000 + seconds)?, at(1_000_000)?), text);
            assert_eq!(time_between(at(1_000_000)?, at(1_000_000 + seconds)?), text);
        }
        Ok(())
    }

    #[test]
    fn of_many_only_the_first_are_named() {
        let all = ["a", "b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(first_of(&all[..3]), "a, b, c");
        assert_eq!(first_of(&all), "a, b, c and 2 more");
    }
}
