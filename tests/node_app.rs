//! Node apps under the real `ganger run`: unmodified servers, launchers, messages, reloads under load.
//!
//! Two versions of Node by default; `GANGER_NODE_VERSIONS="20.20.2 26.10.0"` names others, `GANGER_SOAK=1` takes all
//! that are supported. `GANGER_TEST_REQUESTS` is the number of requests that each load must reach.

#[cfg(test)]
#[path = "node_app/app.rs"]
mod app;
#[cfg(test)]
#[path = "run/stage.rs"]
#[expect(dead_code, reason = "this suite needs less of it than the one that it is part of")]
mod stage;

#[cfg(test)]
#[path = "node_app/attaching.rs"]
mod attaching;
#[cfg(test)]
#[path = "node_app/behaviours.rs"]
mod behaviours;
#[cfg(test)]
#[path = "node_app/deno.rs"]
mod deno;
#[cfg(test)]
#[path = "node_app/explained.rs"]
mod explained;
#[cfg(test)]
#[path = "node_app/inspecting.rs"]
mod inspecting;
#[cfg(test)]
#[path = "node_app/launchers.rs"]
mod launchers;
#[cfg(test)]
#[path = "node_app/life.rs"]
mod life;
#[cfg(test)]
#[path = "node_app/messages.rs"]
mod messages;
#[cfg(test)]
#[path = "node_app/reload.rs"]
mod reload;
#[cfg(test)]
#[path = "node_app/serving.rs"]
mod serving;
#[cfg(test)]
#[path = "node_app/sockets.rs"]
mod sockets;
#[cfg(test)]
#[path = "node_app/systemd.rs"]
mod systemd;
