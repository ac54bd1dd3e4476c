//! The same from the tables in /proc/net, for sandboxes without netlink (proc(5)).

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{MAX_ROWS, Row};
use crate::plan::Address;

/// The most bytes of one table that are read.
const MAX_TABLE: u64 = 256 << 20;

/// Connected TCP sockets of a local port.
pub(super) fn tcp(port: u16) -> Vec<Row> {
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .iter()
        .flat_map(|table| rows(table, tcp_row))
        .filter(|row| matches!(&row.local, Address::Inet(address) if address.port() == port))
        .collect()
}

/// Connected unix sockets that have a name.
pub(super) fn unix() -> Vec<Row> {
    rows("/proc/self/net/unix", unix_row)
}

fn rows(table: &str, parse: fn(&str) -> Option<Row>) -> Vec<Row> {
    let Ok(file) = File::open(table) else { return Vec::new() };
    let lines = BufReader::new(file.take(MAX_TABLE)).split(b'\n').take(MAX_ROWS);
    lines.map_while(Result::ok).filter_map(|line| parse(&String::from_utf8_lossy(&line))).collect()
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`, numbers in hex.
fn tcp_row(line: &str) -> Option<Row> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    // Established and close-wait.
    if !matches!(fields.get(3), Some(&("01" | "08"))) {
        return None;
    }
    let (ip, port) = fields.get(1)?.split_once(':')?;
    let words: Option<Vec<u32>> =
        (0..ip.len() / 8).map(|word| u32::from_str_radix(ip.get(word * 8..word * 8 + 8)?, 16).ok()).collect();
    // Each word stands in the machine's byte order.
    let bytes: Vec<u8> = words?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip: IpAddr = match (<[u8; 4]>::try_from(bytes.as_slice()), <[u8; 16]>::try_from(bytes.as_slice())) {
        (Ok(four), _) => Ipv4Addr::from(four).into(),
        (_, Ok(sixteen)) => Ipv6Addr::from(sixteen).into(),
        _ => return None,
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Row { local: Address::Inet(SocketAddr::new(ip, port)), inode: fields.get(9)?.parse().ok()? })
}

/// `Num RefCount Protocol Flags Type St Inode Path`; the path may hold blanks.
fn unix_row(line: &str) -> Option<Row> {
    let mut fields = line.splitn(8, ' ').filter(|field| !field.is_empty());
    // State 03 is "connected".
    let inode = fields.by_ref().skip_while(|field| *field != "03").nth(1)?;
    let (inode, name) = match inode.trim().split_once(' ') {
        Some((inode, name)) => (inode, name),
        None => (inode.trim(), fields.next()?),
    };
    let local = match name.trim_start().strip_prefix('@') {
        Some(name) => Address::Abstract(name.as_bytes().to_vec()),
        None => Address::Unix(name.trim_start().into()),
    };
    Some(Row { local, inode: inode.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_tables_are_read() {
        let line =
            "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  0  0 4711 1 x";
        let expected = Row { local: Address::Inet("127.0.0.1:8080".parse().unwrap()), inode: 4711 };
        assert_eq!(tcp_row(line), Some(expected));
        assert_eq!(tcp_row(&line.replace(" 01 ", " 0A ")), None, "a listening socket is no connection");
        assert_eq!(tcp_row("  sl  local_address rem_address   st"), None);
        let path = Row { local: Address::Unix("/run/a b.sock".into()), inode: 27 };
        let line = "0000000000000000: 00000003 00000000 00000000 0001 03    27 /run/a b.sock";
        assert_eq!(unix_row(line), Some(path));
        let named = Row { local: Address::Abstract(b"app".to_vec()), inode: 123_456 };
        assert_eq!(unix_row("0000000000000000: 00000003 00000000 00000000 0001 03 123456 @app"), Some(named));
        assert_eq!(unix_row("0000000000000000: 00000003 00000000 00000000 0001 03 123456"), None);
        assert_eq!(unix_row("0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/x"), None);
    }
}
