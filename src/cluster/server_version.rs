//! The version and the clock of an API server.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::Deserialize;

use super::object::{ObjectRef, ResourceKind};
use super::response::cut;
use super::{ApiServer, ClusterError};

/// The version of an API server, and the time of its clock when it replied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVersion {
    /// Its version, such as `v1.33.1`.
    pub version: String,
    /// Its clock, from the header `Date` (RFC 9110, section 6.6.1), in whole seconds. `None` if it sends none.
    pub clock: Option<Timestamp>,
    /// When its answer was received, by the clock of this machine.
    pub received: Timestamp,
    /// How long the request took. The clock was read at some time in between.
    pub round_trip: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionInfo {
    git_version: String,
}

impl ApiServer {
    /// Reads the version and the clock. Every user that the server knows may do that.
    pub fn version(&self) -> Result<ServerVersion, ClusterError> {
        let object = ObjectRef::all(ResourceKind::Version);
        let request = http::Request::get(object.path()).body(Vec::new()).map_err(|_| object.invalid_name())?;
        let began = Instant::now();
        let response = self.request(request, &object, self.deadline())?;
        let (received, round_trip) = (Timestamp::now(), began.elapsed());
        let info: VersionInfo = response.document(&object)?;
        let clock = response.date.as_deref().and_then(http_date);
        Ok(ServerVersion { version: cut(&info.git_version), clock, received, round_trip })
    }
}

/// Reads the time of a header. Its format is that of mail (RFC 5322), always in GMT.
fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_a_response_is_read() {
        let read = |text: &str| http_date(text).map(|time| time.to_string());
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT").as_deref(), Some("1994-11-06T08:49:37Z"));
        assert_eq!(read("1994-11-06T08:49:37Z"), None);
        assert_eq!(read(""), None);
    }
}
