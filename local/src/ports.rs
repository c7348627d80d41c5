//! Loopback ports that nobody else gets meanwhile.
//!
//! To bind port 0 and let go of it again is a race: the kernel may give the number to the next outgoing
//! connection, and two tests may be given the same. So ports are taken from below the range of outgoing
//! connections, and each is held by a name in the abstract Unix namespace that every user of this module
//! tries first. The name is gone with the process, however it ends, and leaves no file.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Where the ports start when the range of outgoing connections starts at its default, 32768.
const LOWEST: u16 = 18_000;

/// A loopback port that is reserved while this value lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _name: UnixListener,
}

impl Port {
    /// Reserves a free port of 127.0.0.1.
    ///
    /// # Errors
    /// None of the ports is free, or the range of outgoing connections cannot be read.
    pub fn reserve() -> io::Result<Self> {
        let range = candidates(&std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?);
        // Each process starts elsewhere, so that processes that start together seldom try the same port.
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let offset = u16::try_from(std::process::id() % 9973).unwrap_or_default();
        for _ in range.clone() {
            let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(offset);
            let number = range.start + step % (range.end - range.start);
            if let Some(port) = Port::take(number) {
                return Ok(port);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("reserve a loopback port: none of {} to {} is free", range.start, range.end - 1),
        ))
    }

    fn take(number: u16) -> Option<Self> {
        let name = UnixAddr::from_abstract_name(format!("meridian-port-{number}")).ok()?;
        let name = UnixListener::bind_addr(&name).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Port { number, _name: name })
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The port on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

/// The ports to choose from, given the text of `ip_local_port_range`.
fn candidates(outgoing: &str) -> Range<u16> {
    let mut bounds = outgoing.split_whitespace().map_while(|bound| bound.parse::<u16>().ok());
    let (low, high) = (bounds.next().unwrap_or(32_768), bounds.next().unwrap_or(60_999));
    match low.checked_sub(1000) {
        Some(enough) if enough > LOWEST => LOWEST..low,
        // Where outgoing connections start low, the ports above them are taken, or the risk is.
        _ if high < 64_000 => high + 1..u16::MAX,
        _ => LOWEST..u16::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn reserved_ports_differ_and_can_be_bound() {
        let ports: Vec<Port> = (0..50).map(|_| Port::reserve().unwrap()).collect();
        let numbers: HashSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), 50);
        TcpListener::bind(ports[0].address()).unwrap();
    }

    #[test]
    fn a_port_is_held_until_it_is_dropped() {
        let port = Port::reserve().unwrap();
        let number = port.number();
        assert!(Port::take(number).is_none(), "{number} was given twice");
        drop(port);
        assert!(Port::take(number).is_some(), "{number} is still held");
    }

    #[test]
    fn a_port_in_use_is_not_given() {
        let port = Port::reserve().unwrap();
        let (number, listener) = (port.number(), TcpListener::bind(port.address()).unwrap());
        drop(port);
        assert!(Port::take(number).is_none());
        drop(listener);
    }

    #[test]
    fn ports_lie_outside_the_range_of_outgoing_connections() {
        assert_eq!(candidates("32768\t60999\n"), LOWEST..32_768);
        assert_eq!(candidates("1024 60999"), 61_000..u16::MAX);
        assert_eq!(candidates("1024 65535"), LOWEST..u16::MAX);
        assert_eq!(candidates("nonsense"), LOWEST..32_768);
    }
}
