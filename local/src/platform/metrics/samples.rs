//! What kubelets measure, from one look to the next.

use std::collections::BTreeMap;

/// What is measured: a node, or a container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The node that was asked.
    Node(String),
    /// One of its containers.
    Container {
        /// Its pod's namespace.
        namespace: String,
        /// Its pod.
        pod: String,
        /// Its name.
        name: String,
    },
}

/// One measurement, as kubelet has it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Sample {
    /// Processor time since its start, in seconds, and when that was read, in milliseconds since the epoch.
    cpu: Option<(f64, i64)>,
    /// Memory in use, in bytes.
    memory: Option<f64>,
}

/// What a subject uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    /// Processors, as a mean over the window.
    pub(super) cpu: f64,
    /// Memory in use, in bytes.
    pub(super) memory: f64,
    /// The end of the window, in milliseconds since the epoch.
    pub(super) at: i64,
    /// The window, in seconds.
    pub(super) window: f64,
}

/// The last two measurements of everything.
#[derive(Debug, Default)]
pub(super) struct Samples {
    nodes: BTreeMap<String, BTreeMap<Subject, Sample>>,
    usage: BTreeMap<Subject, Usage>,
}

impl Samples {
    /// Takes what a node's kubelet says at `/metrics/resource`. What it no longer speaks of is forgotten.
    pub(super) fn take(&mut self, node: &str, text: &str) {
        let now = read(node, text);
        let before = self.nodes.insert(node.to_owned(), now.clone()).unwrap_or_default();
        for gone in before.keys().filter(|subject| !now.contains_key(subject)) {
            self.usage.remove(gone);
        }
        for (subject, sample) in now {
            let former = before.get(&subject).and_then(|former| former.cpu);
            let (Some((cpu, at)), Some(memory), Some((first, from))) = (sample.cpu, sample.memory, former)
            else {
                continue;
            };
            // A kubelet that has not measured again since says the same; what is known then stays.
            if at > from && cpu >= first {
                let window = (at - from) as f64 / 1000.0;
                self.usage.insert(subject, Usage { cpu: (cpu - first) / window, memory, at, window });
            }
        }
    }

    /// Forgets nodes that are not in the cluster any more.
    pub(super) fn keep(&mut self, nodes: &[String]) {
        let gone: Vec<String> = self.nodes.keys().filter(|node| !nodes.contains(node)).cloned().collect();
        for node in gone {
            for subject in self.nodes.remove(&node).unwrap_or_default().keys() {
                self.usage.remove(subject);
            }
        }
    }

    /// What a node uses; nothing before its second measurement.
    pub(super) fn node(&self, name: &str) -> Option<Usage> {
        self.usage.get(&Subject::Node(name.to_owned())).copied()
    }

    /// What the containers of a pod use, by name.
    pub(super) fn pod(&self, namespace: &str, pod: &str) -> Vec<(&str, Usage)> {
        self.usage
            .iter()
            .filter_map(|(subject, usage)| match subject {
                Subject::Container { namespace: of, pod: own, name } if of == namespace && own == pod => {
                    Some((name.as_str(), *usage))
                }
                _ => None,
            })
            .collect()
    }
}

/// Reads Prometheus' text format as far as kubelet writes it.
fn read(node: &str, text: &str) -> BTreeMap<Subject, Sample> {
    let mut samples: BTreeMap<Subject, Sample> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value, at)) = sample(line) else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let label = |wanted: &str| {
            let found = labels
                .trim_end_matches('}')
                .split(',')
                .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == wanted));
            found.map(|(_, value)| value.trim_matches('"').to_owned()).filter(|value| !value.is_empty())
        };
        let container = || {
            Some(Subject::Container {
                namespace: label("namespace")?,
                pod: label("pod")?,
                name: label("container")?,
            })
        };
        let subject = match name.split_once('_') {
            Some(("node", _)) => Some(Subject::Node(node.to_owned())),
            Some(("container", _)) => container(),
            _ => None,
        };
        let Some(subject) = subject else { continue };
        match name.split_once('_').map_or("", |(_, rest)| rest) {
            "cpu_usage_seconds_total" => samples.entry(subject).or_default().cpu = Some((value, at)),
            "memory_working_set_bytes" => samples.entry(subject).or_default().memory = Some(value),
            _ => {}
        }
    }
    samples
}

/// A line's series, value and time. No name that Kubernetes admits has a space, comma or brace in it.
fn sample(line: &str) -> Option<(&str, f64, i64)> {
    let (rest, at) = line.trim_end().rsplit_once(' ')?;
    let (series, value) = rest.rsplit_once(' ')?;
    Some((series, value.parse().ok()?, at.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(cpu: f64, at: i64) -> String {
        format!(
            "# HELP container_cpu_usage_seconds_total Cumulative cpu time\n\
             container_cpu_usage_seconds_total{{container=\"service\",namespace=\"meridian\",pod=\"a\"}} {cpu} {at}\n\
             container_memory_working_set_bytes{{container=\"service\",namespace=\"meridian\",pod=\"a\"}} 8.388608e+06 {at}\n\
             container_start_time_seconds{{container=\"service\",namespace=\"meridian\",pod=\"a\"}} 1.7e+09\n\
             node_cpu_usage_seconds_total {} {at}\nnode_memory_working_set_bytes 1e+09 {at}\nscrape_error 0\n",
            cpu * 10.0
        )
    }

    #[test]
    fn usage_is_what_came_between_two_measurements() {
        let mut samples = Samples::default();
        samples.take("one", &said(1.0, 10_000));
        assert_eq!(samples.node("one"), None);
        samples.take("one", &said(2.0, 15_000));
        let expected = Usage { cpu: 0.2, memory: 8_388_608.0, at: 15_000, window: 5.0 };
        assert_eq!(samples.pod("meridian", "a"), [("service", expected)]);
        assert_eq!(samples.pod("other", "a"), []);
        assert_eq!(samples.node("one").map(|usage| usage.cpu), Some(2.0));
    }

    #[test]
    fn a_measurement_that_is_told_twice_counts_once_and_a_restart_counts_from_anew() {
        let mut samples = Samples::default();
        for (cpu, at) in [(1.0, 10_000), (2.0, 15_000), (2.0, 15_000), (0.5, 20_000)] {
            samples.take("one", &said(cpu, at));
        }
        assert_eq!(samples.pod("meridian", "a")[0].1.at, 15_000);
        samples.take("one", &said(1.0, 25_000));
        assert_eq!(samples.pod("meridian", "a")[0].1.cpu, 0.1);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut samples = Samples::default();
        samples.take("one", &said(1.0, 10_000));
        samples.take("one", &said(2.0, 15_000));
        samples.take("one", "node_cpu_usage_seconds_total 30 20000\n");
        assert_eq!(samples.pod("meridian", "a"), []);
        samples.keep(&[]);
        assert_eq!(samples.node("one"), None);
    }
}
