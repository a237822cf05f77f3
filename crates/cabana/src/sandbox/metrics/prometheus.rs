//! The text form of Prometheus, version 0.0.4. Pure.

use std::fmt::{Display, Write};

use cabana_protocol::{metrics::Metrics, sandbox::State};

/// Its media type.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const STATES: [State; 7] =
    [State::Created, State::Starting, State::Running, State::Stopping, State::Sleeping, State::Failed, State::Destroyed];

/// The metrics as samples, in base units.
pub(crate) fn text(metrics: &Metrics) -> String {
    let mut page = Page { text: String::new(), sandbox: metrics.sandbox.to_string() };
    life(&mut page, metrics);
    requests(&mut page, metrics);
    if let Some(usage) = &metrics.usage {
        page.one("cpu_seconds_total", "counter", "Time on processors since the sandbox started.", seconds(usage.cpu.used_ms));
        page.one("cpus", "gauge", "Processors that may be used at once.", usage.cpu.count);
        page.one("memory_used_bytes", "gauge", "Memory in use.", usage.memory.used_bytes);
        page.one("memory_total_bytes", "gauge", "Memory that there is.", usage.memory.total_bytes);
        page.one("disk_used_bytes", "gauge", "Disk in use.", usage.disk.used_bytes);
        page.one("disk_total_bytes", "gauge", "Disk that there is.", usage.disk.total_bytes);
        page.one("processes", "gauge", "Processes, the agent included.", usage.processes);
    }
    page.text
}

fn life(page: &mut Page, metrics: &Metrics) {
    page.head("state", "gauge", "Where the sandbox is in its life: 1 for its state, 0 for the others.");
    for state in STATES {
        let name = serde_json::to_value(state).unwrap_or_default();
        page.sample("state", &[("state", name.as_str().unwrap_or_default())], u8::from(state == metrics.state));
    }
    page.one("starts_total", "counter", "How many times the sandbox was started.", metrics.starts);
    page.one("loads_total", "counter", "How often its Durable Object came into memory.", metrics.wakeups.loads);
    page.one("alarms_total", "counter", "How often its alarm went off.", metrics.wakeups.alarms);
}

fn requests(page: &mut Page, metrics: &Metrics) {
    page.head("requests_total", "counter", "Requests that are over, by operation and outcome.");
    for count in &metrics.requests {
        page.sample("requests_total", &[("operation", &count.operation), ("outcome", &count.outcome)], count.count);
    }
    page.one("open_requests", "gauge", "Requests under way, of those that take long.", metrics.open_requests);
    page.head("bytes_total", "counter", "Bytes of requests' and of answers' bodies.");
    page.sample("bytes_total", &[("direction", "in")], metrics.bytes_in);
    page.sample("bytes_total", &[("direction", "out")], metrics.bytes_out);
    page.head("request_duration_seconds", "histogram", "How long requests took, to the end of their answers.");
    for bucket in &metrics.durations.buckets {
        let bound = bucket.le_ms.map_or("+Inf".to_owned(), |bound| seconds(bound).to_string());
        page.sample("request_duration_seconds_bucket", &[("le", &bound)], bucket.count);
    }
    page.sample("request_duration_seconds_sum", &[], seconds(metrics.durations.sum_ms));
    page.sample("request_duration_seconds_count", &[], metrics.durations.count);
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1_000.0
}

/// Samples of one sandbox.
struct Page {
    text: String,
    sandbox: String,
}

impl Page {
    /// A metric of one sample.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, &[], value);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP cabana_sandbox_{name} {help}\n# TYPE cabana_sandbox_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "cabana_sandbox_{name}{{sandbox=\"{}\"", self.sandbox);
        for (label, text) in labels {
            let _ = write!(self.text, ",{label}=\"{}\"", escape(text));
        }
        let _ = writeln!(self.text, "}} {value}");
    }
}

/// A label's value as it stands between quotes.
fn escape(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use cabana_protocol::{
        metrics::{Bucket, Histogram, RequestCount},
        sandbox::Wakeups,
        system::{Cpu, Space, Usage},
    };
    use prometheus_parse::{Scrape, Value};

    use super::*;

    fn metrics() -> Metrics {
        let space = Space { used_bytes: 1, total_bytes: 1 << 40 };
        Metrics {
            sandbox: "sbx-a".parse().unwrap(),
            state: State::Running,
            running_since: None,
            starts: 2,
            wakeups: Wakeups { loads: 3, alarms: 4 },
            requests: vec![RequestCount { operation: "a\"b\\c\nd".to_owned(), outcome: "ok".to_owned(), count: 7 }],
            open_requests: 1,
            bytes_in: 10,
            bytes_out: u64::MAX,
            durations: Histogram {
                buckets: vec![Bucket { le_ms: Some(5), count: 6 }, Bucket { le_ms: None, count: 7 }],
                count: 7,
                sum_ms: 1_234,
            },
            usage: Some(Usage { cpu: Cpu { used_ms: 120, count: 0.5 }, memory: space, disk: space, processes: 9, uptime_ms: 1 }),
        }
    }

    #[test]
    fn a_parser_reads_every_sample() {
        let text = text(&metrics());
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        let scrape = Scrape::parse(lines).unwrap();
        // A histogram is one for the parser: its two buckets, its sum and its count are each a line.
        assert_eq!(scrape.samples.len(), text.lines().filter(|line| !line.starts_with('#')).count() - 1);
        let find = |name: &str, label: &str, value: &str| {
            let name = format!("cabana_sandbox_{name}");
            let found = scrape
                .samples
                .iter()
                .find(|sample| sample.metric == name && (label.is_empty() || sample.labels.get(label) == Some(value)));
            found.unwrap_or_else(|| panic!("{name} {label} {value} in\n{text}")).value.clone()
        };
        for (name, label, value, expected) in [
            ("state", "state", "running", Value::Gauge(1.0)),
            ("state", "state", "failed", Value::Gauge(0.0)),
            ("starts_total", "", "", Value::Counter(2.0)),
            ("requests_total", "outcome", "ok", Value::Counter(7.0)),
            ("bytes_total", "direction", "in", Value::Counter(10.0)),
            ("cpu_seconds_total", "", "", Value::Counter(0.12)),
            ("disk_total_bytes", "", "", Value::Gauge((1u64 << 40) as f64)),
        ] {
            assert_eq!(find(name, label, value), expected, "{name}");
        }
        let Value::Histogram(buckets) = find("request_duration_seconds", "", "") else { panic!("no histogram in\n{text}") };
        assert_eq!(
            buckets.iter().map(|bucket| (bucket.less_than, bucket.count)).collect::<Vec<_>>(),
            [(0.005, 6.0), (f64::INFINITY, 7.0)]
        );
    }

    #[test]
    fn every_metric_says_what_it_is_and_once() {
        let text = text(&metrics());
        let mut names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(text.lines().filter(|line| line.starts_with("# HELP ")).count(), count);
        assert!(text.contains(r#"operation="a\"b\\c\nd""#) && text.ends_with('\n'), "{text}");
    }
}
