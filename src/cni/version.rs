//! The verbs of the protocol, and the versions that have them.

use std::fmt;

/// The command of a call (CNI_COMMAND).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Assigns addresses to an attachment.
    Add,
    /// Releases them.
    Del,
    /// Checks whether the attachment still has them.
    Check,
    /// Releases what attachments outside a list hold on this node.
    Gc,
    /// Checks whether an ADD could succeed.
    Status,
    /// Lists the supported protocol versions.
    Version,
}

impl Verb {
    /// All of them, in the order of the specification.
    pub const ALL: [Self; 6] = [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version];

    /// The spelling in CNI_COMMAND.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    /// Parses the spelling in CNI_COMMAND.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text)
    }

    /// The version that introduced it.
    pub fn since(self) -> CniVersion {
        match self {
            Self::Add | Self::Del | Self::Version => CniVersion::V0_1_0,
            Self::Check => CniVersion::V0_4_0,
            Self::Gc | Self::Status => CniVersion::V1_1_0,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The supported protocol versions, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CniVersion {
    /// 0.1.0, and configs without `cniVersion`.
    V0_1_0,
    /// 0.2.0
    V0_2_0,
    /// 0.3.0
    V0_3_0,
    /// 0.3.1
    V0_3_1,
    /// 0.4.0
    V0_4_0,
    /// 1.0.0
    V1_0_0,
    /// 1.1.0
    V1_1_0,
}

impl CniVersion {
    /// All of them, oldest first.
    pub const ALL: [Self; 7] =
        [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest one. Errors are reported in it if the config's version is unknown.
    pub const NEWEST: Self = Self::V1_1_0;

    /// The spelling in `cniVersion`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// Parses the spelling in `cniVersion`. As in the reference library, `1.0` is not `1.0.0`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// All versions as a list for messages.
    pub fn list() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }

    /// Whether a result may have only one address per family. A config that would assign more must be refused before
    /// anything is held.
    pub fn one_address_per_family(self) -> bool {
        self < Self::V0_3_0
    }
}

impl fmt::Display for CniVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for CniVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_or_verb_is_read_from_its_exact_spelling_only() {
        for version in CniVersion::ALL {
            assert_eq!(CniVersion::parse(version.as_str()), Some(version));
        }
        for text in ["", "1.0", "1.1.0 ", "v1.1.0", "0.5.0", "1.2.0"] {
            assert_eq!(CniVersion::parse(text), None, "{text:?}");
        }
        for verb in Verb::ALL {
            assert_eq!(Verb::parse(verb.as_str()), Some(verb));
        }
        for text in ["", "add", "ADD ", "UPDATE"] {
            assert_eq!(Verb::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_versions_that_fit_one_address_per_family_are_the_two_oldest() {
        let narrow: Vec<_> = CniVersion::ALL.into_iter().filter(|version| version.one_address_per_family()).collect();
        assert_eq!(narrow, [CniVersion::V0_1_0, CniVersion::V0_2_0]);
    }
}
