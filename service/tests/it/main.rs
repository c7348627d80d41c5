//! The service as a process: over loopback, on real sockets, with real TLS.

#[cfg(test)]
mod adoption;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod load;
#[cfg(test)]
mod oauth;
#[cfg(test)]
mod pod;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod traffic;
