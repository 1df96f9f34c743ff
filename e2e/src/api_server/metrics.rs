//! The server's metrics, in the text format of Prometheus (exposition format 0.0.4).

use std::collections::BTreeMap;

use super::ApiServer;
use crate::Result;

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels with their values.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl ApiServer {
    /// The values of a metric, such as `apiserver_request_total`. Empty if the server has counted nothing yet.
    ///
    /// # Errors
    /// If the server does not answer.
    pub fn samples(&self, metric: &str) -> Result<Vec<Sample>> {
        let page = self.admin.get("/metrics")?;
        Ok(samples(page.as_str().ok_or("the metrics are no text")?, metric))
    }
}

fn samples(page: &str, metric: &str) -> Vec<Sample> {
    page.lines().filter_map(|line| line.strip_prefix(metric)).filter_map(sample).collect()
}

/// The rest of a line after its metric's name; `None` if the name goes on, or the rest is no sample.
fn sample(rest: &str) -> Option<Sample> {
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once('}')?,
        None => ("", rest.strip_prefix(' ')?),
    };
    let pairs = labels.split_terminator("\",").filter_map(|pair| pair.split_once("=\""));
    let labels = pairs.map(|(label, value)| (label.to_owned(), value.trim_end_matches('"').to_owned())).collect();
    Some(Sample { labels, value: value.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_their_labels_and_are_those_of_this_metric_alone() {
        let page = "# TYPE requests counter\n\
                    requests{code=\"200\",resource=\"pods\",subresource=\"\"} 12\n\
                    requests{code=\"404\"} 1e+03\n\
                    requests_total{code=\"200\"} 7\n\
                    seconds 0.25\n";
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let expected = [
            Sample { labels: labels(&[("code", "200"), ("resource", "pods"), ("subresource", "")]), value: 12.0 },
            Sample { labels: labels(&[("code", "404")]), value: 1000.0 },
        ];
        assert_eq!(samples(page, "requests"), expected);
        assert_eq!(samples(page, "seconds"), [Sample { labels: BTreeMap::new(), value: 0.25 }]);
    }
}
