//! Unmodified Node apps on inherited sockets, with real Node of every supported version as workers.
//!
//! `GANGER_NODE_VERSIONS="20.20.2 26.10.0"` limits the versions.

#[cfg(test)]
#[path = "node/claims.rs"]
mod claims;
#[cfg(test)]
#[path = "node/client.rs"]
mod client;
#[cfg(test)]
#[path = "node/handing.rs"]
mod handing;
#[cfg(test)]
#[path = "node/http2.rs"]
mod http2;
#[cfg(test)]
#[path = "node/listen.rs"]
mod listen;
#[cfg(test)]
#[path = "node/lives.rs"]
mod lives;
#[cfg(test)]
#[path = "node/load.rs"]
mod load;
#[cfg(test)]
#[path = "node/pool.rs"]
mod pool;
