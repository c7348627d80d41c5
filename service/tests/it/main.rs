//! The service as a process: over loopback, on real sockets, with real TLS, and, where documents are
//! concerned, with a real Vault behind a real agent.

#[cfg(test)]
mod adoption;
#[cfg(test)]
mod broken;
#[cfg(test)]
mod canary;
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
mod region;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod traffic;
