//! How the service manager and the journal are spoken to. What is told to them is decided by the pool and
//! the daemon; here it is put into datagrams, at the right moment, without ever waiting.
//!
//! | submodule | what it decides |
//! | --- | --- |
//! | [`activation`] | which sockets were passed, and whether they are fit for workers |
//! | [`notify`] | how a datagram reaches the service manager when its socket is full |
//! | [`upward`] | when the service manager is told what (pure) |
//! | [`watchdog`] | when the service manager's watchdog is fed (pure) |
//! | [`fdstore`] | how a descriptor is given to the service manager to keep |
//! | [`logging`] | where ganger's own records go |
//! | [`surroundings`] | which service manager there is, if any |

pub mod activation;
pub mod fdstore;
pub mod logging;
pub mod notify;
pub mod surroundings;
pub mod upward;
pub mod watchdog;
