//! Packets that come later: the kernel hands them to a process, which lets each go after a while.
//!
//! Only their numbers are handed over, by nfnetlink_queue (`linux/netfilter/nfnetlink_queue.h`); where that process
//! is gone, packets pass as they are.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, bind, recv, send, socket};
use rustix::time::Timespec;

use super::background;
use super::chain::Chain;
use crate::platform::{Error, Plan, network};

/// The chain that holds what is handed over.
const CHAIN: Chain = Chain { name: "MERIDIAN-SLOW", hooks: &["FORWARD"] };

/// The hidden verb of the process that holds packets back.
const VERB: &str = "hold-packets";

/// Packets that wait at most; more pass at once.
const LONGEST: u32 = 100_000;

// Of linux/netfilter/nfnetlink.h and nfnetlink_queue.h.
const PACKET: u16 = 3 << 8;
const VERDICT: u16 = 3 << 8 | 1;
const CONFIG: u16 = 3 << 8 | 2;
const REQUEST: u16 = 1;
const CFG_CMD: u16 = 1;
const CFG_PARAMS: u16 = 2;
const CFG_MAXLEN: u16 = 3;
const CFG_MASK: u16 = 4;
const CFG_FLAGS: u16 = 5;
const PACKET_HDR: u16 = 1;
const VERDICT_HDR: u16 = 2;
const BIND: u8 = 1;
const COPY_META: u8 = 1;
const FAIL_OPEN_AND_GSO: u32 = 1 | 4;
const ACCEPT: u32 = 1;

/// Lets every packet that comes into a region or leaves it come so much later, until a delay of zero.
///
/// # Errors
/// The system refused.
pub async fn delay(plan: &Plan, by: Duration) -> Result<(), Error> {
    let router = network::router(&plan.environment);
    let (space, range) = (network::file(&router), plan.range.to_string());
    let queue = plan.mark().to_string();
    CHAIN.clear(&space, &[&range])?;
    background::end(&router, &[VERB, &queue]).await?;
    if by.is_zero() {
        return Ok(());
    }
    background::start(&router, &[VERB, &queue, &by.as_millis().to_string()])?;
    for ways in [["-s", &range, "!", "-d", &range], ["!", "-s", &range, "-d", &range]] {
        CHAIN.add(
            &space,
            &[&ways[..], &["-j", "NFQUEUE", "--queue-num", &queue, "--queue-bypass"]].concat(),
        )?;
    }
    Ok(())
}

/// Holds the packets of a queue back, until the process ends.
///
/// # Errors
/// The kernel refused.
pub fn hold(queue: u16, by: Duration) -> Result<(), Error> {
    let system = |source| Error::System { operation: format!("hold packets of queue {queue} back"), source };
    run(queue, by).map_err(system)
}

fn run(queue: u16, by: Duration) -> io::Result<()> {
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, Some(NETFILTER))?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    let [high, low] = 0_u16.to_be_bytes();
    say(&socket, CONFIG, queue, &[(CFG_CMD, &[BIND, 0, high, low])])?;
    let flags = FAIL_OPEN_AND_GSO.to_be_bytes();
    let parameters: [(u16, &[u8]); 4] = [
        (CFG_PARAMS, &[0, 0, 0, 0, COPY_META]),
        (CFG_MAXLEN, &LONGEST.to_be_bytes()),
        (CFG_MASK, &flags),
        (CFG_FLAGS, &flags),
    ];
    say(&socket, CONFIG, queue, &parameters)?;
    let mut waiting: VecDeque<(Instant, u32)> = VecDeque::new();
    let mut bytes = [0; 64 << 10];
    loop {
        let now = Instant::now();
        while let Some((_, id)) = waiting.pop_front_if(|(due, _)| *due <= now) {
            let verdict = [ACCEPT.to_be_bytes(), id.to_be_bytes()].concat();
            say(&socket, VERDICT, queue, &[(VERDICT_HDR, &verdict)])?;
        }
        let left = waiting.front().map(|(due, _)| due.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut sockets = [PollFd::new(&socket, PollFlags::IN)];
        if poll(&mut sockets, left.as_ref())? == 0 {
            continue;
        }
        // A full buffer loses messages; those packets pass with the kernel's own end of patience.
        let length = match recv(&socket, &mut bytes, RecvFlags::empty()) {
            Ok((length, _)) => length,
            Err(rustix::io::Errno::NOBUFS) => continue,
            Err(error) => return Err(error.into()),
        };
        let due = Instant::now() + by;
        waiting.extend(packets(&bytes[..length]).map(|id| (due, id)));
    }
}

/// Sends one message with these attributes.
fn say(socket: &OwnedFd, kind: u16, queue: u16, attributes: &[(u16, &[u8])]) -> io::Result<()> {
    let mut body = vec![0, 0];
    body.extend(queue.to_be_bytes());
    for (attribute, value) in attributes {
        let length = u16::try_from(4 + value.len()).map_err(io::Error::other)?;
        body.extend(length.to_ne_bytes());
        body.extend(attribute.to_ne_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(16 + body.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    send(socket, &message, SendFlags::empty())?;
    Ok(())
}

/// The numbers of the packets in what the kernel has sent.
fn packets(mut bytes: &[u8]) -> impl Iterator<Item = u32> {
    let mut found = Vec::new();
    while let Some((length, kind)) = header(bytes) {
        if kind == PACKET {
            let mut attributes = bytes.get(20..length).unwrap_or_default();
            while let (Some(size), Some(attribute)) = (short(attributes, 0), short(attributes, 2)) {
                if attribute == PACKET_HDR
                    && let Some(id) = attributes.get(4..8).and_then(|id| <[u8; 4]>::try_from(id).ok())
                {
                    found.push(u32::from_be_bytes(id));
                }
                attributes =
                    attributes.get(usize::from(size.max(4)).next_multiple_of(4)..).unwrap_or_default();
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found.into_iter()
}

/// A message's length and kind; nothing where no whole message is left.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    let length = usize::try_from(length).ok().filter(|length| (16..=bytes.len()).contains(length))?;
    Some((length, short(bytes, 4)?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(id: u32) -> Vec<u8> {
        let mut message = Vec::new();
        message.extend(40_u32.to_ne_bytes());
        message.extend(PACKET.to_ne_bytes());
        message.extend([0; 10]);
        message.extend([2, 0, 0, 7]);
        message.extend(8_u16.to_ne_bytes());
        message.extend(9_u16.to_ne_bytes());
        message.extend([1; 4]);
        message.extend(11_u16.to_ne_bytes());
        message.extend(PACKET_HDR.to_ne_bytes());
        message.extend(id.to_be_bytes());
        message.extend([8, 0, 0, 0]);
        message
    }

    #[test]
    fn packets_are_found_by_their_numbers() {
        let bytes = [packet(5), packet(6)].concat();
        assert_eq!(packets(&bytes).collect::<Vec<_>>(), [5, 6]);
        // What ends early, or says a length that cannot be, holds no packet and ends no process.
        for cut in 0..bytes.len() {
            assert!(packets(&bytes[..cut]).count() <= 1);
        }
        let mut wrong = packet(5);
        wrong[20..22].copy_from_slice(&0_u16.to_ne_bytes());
        assert!(packets(&wrong).count() <= 1);
    }
}
