//! The entries of `listen`: an address, or a table with an address, a name, a type and a backlog.

use crate::plan::{Address, SocketKind};

use super::address;
use super::check::{Check, Field, clip};
use super::diagnostic::Complaint;
use super::kind::{Kind, ListenEntry, Typed};
use super::value::What;

/// The most listening sockets of one app.
const MAX_LISTEN: usize = 256;

/// The backlog that is asked for by default; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

impl Field<'_> {
    pub(super) fn listen(&self) -> Check {
        let entries = self.each(Self::listen_entry)?;
        if entries.len() > MAX_LISTEN {
            Err(self.wrong("has more than 256 sockets"))
        } else {
            Ok(Typed::Listen(entries))
        }
    }

    fn listen_entry(item: &Self) -> Result<ListenEntry, Box<Complaint>> {
        let mut entry = ListenEntry {
            address: Address::Abstract(Vec::new()),
            kind: SocketKind::Stream,
            name: None,
            backlog: BACKLOG,
            at: item.value.at.clone(),
        };
        let What::Table(table) = &item.value.what else {
            entry.address = item.address()?;
            return Ok(entry);
        };
        let mut has_address = false;
        for part in table {
            let path = format!("{}.{}", item.path, part.name);
            let field = Field { path: &path, value: &part.value, kind: item.kind };
            match part.name.as_str() {
                "address" => {
                    entry.address = field.address()?;
                    has_address = true;
                }
                "name" => entry.name = Some(field.descriptor_name()?),
                "type" => entry.kind = field.socket_kind()?,
                "backlog" => entry.backlog = field.count(1, 1_000_000)?,
                _ => {
                    let complaint = Complaint::error(part.name_at.clone(), format!("unknown key `{path}`"));
                    return Err(Box::new(complaint.expected("address, name, type or backlog")));
                }
            }
        }
        if !has_address {
            return Err(item.wrong("has no address"));
        }
        if entry.kind == SocketKind::SeqPacket && matches!(entry.address, Address::Inet(_)) {
            return Err(Box::new(
                Complaint::error(item.value.at.clone(), "a seqpacket socket has no IP address")
                    .expected("\"/path\" or \"@abstract\""),
            ));
        }
        Ok(entry)
    }

    fn address(&self) -> Result<Address, Box<Complaint>> {
        let text = match &self.value.what {
            What::Text(text) => text.clone(),
            What::Integer(Some(number)) => number.to_string(),
            What::Integer(None)
            | What::Float(_)
            | What::Flag(_)
            | What::Moment
            | What::List(_)
            | What::Table(_) => {
                return Err(self.wrong_type());
            }
        };
        address::parse(&text).map_err(|error| {
            let message = format!("`{}` is {}", self.path, clip(&self.value.shown()));
            let complaint = Complaint::error(self.value.at.clone(), message).expected(error.expected);
            Box::new(match error.hint {
                Some(hint) => complaint.hint(hint),
                None => complaint,
            })
        })
    }

    fn descriptor_name(&self) -> Result<String, Box<Complaint>> {
        let name = self.text()?;
        if address::is_descriptor_name(name) {
            return Ok(name.to_owned());
        }
        let message = format!("`{}` is {}", self.path, clip(&self.value.shown()));
        let complaint = Complaint::error(self.value.at.clone(), message);
        Err(Box::new(complaint.expected("1 to 255 visible ASCII characters without \":\"")))
    }

    fn socket_kind(&self) -> Result<SocketKind, Box<Complaint>> {
        const KINDS: &[&str] = &["stream", "datagram", "seqpacket"];
        let field = Self { kind: Kind::Choice(KINDS), ..*self };
        Ok(match field.choice(KINDS)? {
            "datagram" => SocketKind::Datagram,
            "seqpacket" => SocketKind::SeqPacket,
            _ => SocketKind::Stream,
        })
    }
}
