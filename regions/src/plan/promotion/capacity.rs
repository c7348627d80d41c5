//! Whether a region has room for what is about to come: a rollout's surge, or another region's traffic.

use std::fmt;

/// What a pod asks for, or what a node has left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Thousandths of a processor.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
    /// Pods.
    pub pods: u64,
}

/// The nodes of a region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nodes {
    /// What each node that takes pods has left.
    pub left: Vec<Room>,
    /// Nodes that there are, those that take none among them.
    pub count: u64,
    /// Nodes that its pools may have.
    pub most: u64,
}

impl Room {
    /// Whether this fits into it.
    fn takes(&self, wanted: &Self) -> bool {
        wanted.cpu <= self.cpu && wanted.memory <= self.memory && wanted.pods <= self.pods
    }

    /// What is left of it without this.
    #[must_use]
    pub fn without(&self, used: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(used.cpu),
            memory: self.memory.saturating_sub(used.memory),
            pods: self.pods.saturating_sub(used.pods),
        }
    }
}

impl Nodes {
    /// Whether one more pod finds a place, on a node that is there or one that an autoscaler may still add.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn take(&self, pod: &Room) -> Result<(), String> {
        if self.count < self.most || self.left.iter().any(|left| left.takes(pod)) {
            return Ok(());
        }
        Err(format!(
            "none of its {} nodes has room for one more pod ({} m of a processor, {} MiB), and its pools may have no more \
             nodes; raise `max` of a pool, or take something away",
            self.count,
            pod.cpu,
            pod.memory >> 20
        ))
    }
}

/// A region that takes traffic, or might.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    /// Its name.
    pub region: String,
    /// How it stands.
    pub state: Carrying,
}

/// How a region stands to traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrying {
    /// It takes traffic with so many pods, and may have so many.
    Serving {
        /// Pods that are ready.
        ready: u32,
        /// Pods that it may have.
        most: u32,
    },
    /// It counts as drained; why.
    Out(String),
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            Carrying::Serving { ready, most } => {
                write!(f, "{}: {ready} pods ready, {most} at most", self.region)
            }
            Carrying::Out(why) => write!(f, "{}: {why}", self.region),
        }
    }
}

/// Whether the others carry what a region carries now, with one pod of each spared for a rollout or a node that goes.
///
/// # Errors
/// Why not.
pub fn others_carry(leaving: u32, others: &[Carrier]) -> Result<(), String> {
    let serving = others.iter().filter_map(|other| match other.state {
        Carrying::Serving { ready, most } if ready > 0 => Some((ready, most.saturating_sub(1))),
        _ => None,
    });
    let (now, most) =
        serving.fold((0_u32, 0_u32), |sum, one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1)));
    let shown = || others.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if now == 0 {
        let none = if others.is_empty() { "there is no other region".to_owned() } else { shown() };
        return Err(format!("no other region takes traffic ({none})"));
    }
    let needed = now.saturating_add(leaving);
    if needed > most {
        return Err(format!(
            "{needed} pods carry the traffic now, and the others may have {most}, one of each spared ({})",
            shown()
        ));
    }
    Ok(())
}

/// A quantity as Kubernetes writes it, in thousandths.
fn thousandths(text: &str) -> Option<u128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = format!("{:0<3}", fraction.get(..3).unwrap_or(fraction));
    let number = whole.parse::<u128>().ok()? * 1000 + fraction.parse::<u128>().ok()?;
    let factor = match unit {
        "m" => return Some(number / 1000),
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        exponent => {
            let power =
                exponent.strip_prefix(['e', 'E'])?.parse::<u32>().ok().filter(|power| *power <= 15)?;
            10_u128.pow(power)
        }
    };
    number.checked_mul(factor)
}

/// Processors in thousandths; 0 for what is no quantity.
pub fn cpu(text: &str) -> u64 {
    thousandths(text).and_then(|number| number.try_into().ok()).unwrap_or(0)
}

/// Bytes, pods and what else is counted whole; 0 for what is no quantity.
pub fn whole(text: &str) -> u64 {
    thousandths(text).and_then(|number| (number / 1000).try_into().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: Room = Room { cpu: 100, memory: 64 << 20, pods: 1 };

    #[test]
    fn a_pod_finds_a_place_where_all_that_it_asks_for_is_left_or_a_node_may_come() {
        let nodes = |left: &[Room], most| Nodes { left: left.to_vec(), count: 2, most };
        let lacks = [Room { cpu: 99, ..POD }, Room { memory: 1, ..POD }, Room { pods: 0, ..POD }];
        assert!(nodes(&[POD], 2).take(&POD).is_ok());
        assert!(nodes(&lacks, 3).take(&POD).is_ok());
        let why = nodes(&lacks, 2).take(&POD).unwrap_err();
        assert!(
            why.contains("none of its 2 nodes") && why.contains("100 m") && why.contains("64 MiB"),
            "{why}"
        );
    }

    #[test]
    fn others_carry_it_while_they_may_grow_enough() {
        let serving = |region: &str, ready, most| Carrier {
            region: region.into(),
            state: Carrying::Serving { ready, most },
        };
        let out = Carrier { region: "us".into(), state: Carrying::Out("it is drained".into()) };
        assert!(others_carry(2, &[serving("us", 2, 10)]).is_ok());
        assert!(others_carry(4, &[serving("us", 5, 10)]).is_ok());
        let why = others_carry(5, &[serving("us", 5, 10)]).unwrap_err();
        assert!(why.contains("10 pods carry the traffic now, and the others may have 9"), "{why}");
        let why = others_carry(1, std::slice::from_ref(&out)).unwrap_err();
        assert!(why.contains("no other region takes traffic (us: it is drained)"), "{why}");
        assert!(others_carry(1, &[]).unwrap_err().contains("there is no other region"));
        assert!(others_carry(2, &[out, serving("asia", 2, 10)]).is_ok());
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        assert_eq!([cpu("100m"), cpu("2"), cpu("1.5"), cpu("x")], [100, 2000, 1500, 0]);
        assert_eq!(
            [whole("64Mi"), whole("1Gi"), whole("1000k"), whole("128974848")],
            [64 << 20, 1 << 30, 1_000_000, 128_974_848]
        );
        assert_eq!([whole("1e3"), whole("110"), whole(""), whole("1e99")], [1000, 110, 0, 0]);
    }

    proptest::proptest! {
        #[test]
        fn no_quantity_panics(text in "[0-9.]{0,30}[a-zA-Z]{0,3}[0-9]{0,4}") {
            let _ = (cpu(&text), whole(&text));
        }
    }
}
