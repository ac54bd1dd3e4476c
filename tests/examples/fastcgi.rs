//! The least that a web server says to a FastCGI application: one GET, one answer.
//!
//! Record layout and type numbers: FastCGI specification 1.0, sections 3.3 and 8.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const VERSION: u8 = 1;
const REQUEST_ID: u8 = 1;
const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const ROLE_RESPONDER: u8 = 1;

/// Asks for the page that `script` makes; its headers and body.
pub(crate) fn get(mut stream: TcpStream, script: &Path) -> io::Result<String> {
    let mut params = Vec::new();
    param(&mut params, b"GATEWAY_INTERFACE", b"CGI/1.1")?;
    param(&mut params, b"REQUEST_METHOD", b"GET")?;
    param(&mut params, b"SCRIPT_FILENAME", script.as_os_str().as_bytes())?;

    let mut request = record(BEGIN_REQUEST, &[0, ROLE_RESPONDER, 0, 0, 0, 0, 0, 0])?;
    request.extend(record(PARAMS, &params)?);
    request.extend(record(PARAMS, &[])?);
    request.extend(record(STDIN, &[])?);
    stream.write_all(&request)?;

    let mut page = Vec::new();
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        let [_, kind, _, _, high, low, padding, _] = head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let mut content = vec![0; length + usize::from(padding)];
        stream.read_exact(&mut content)?;
        content.truncate(length);
        match kind {
            STDOUT => page.extend(content),
            END_REQUEST => return String::from_utf8(page).map_err(io::Error::other),
            _ => {}
        }
    }
}

/// One record of the only request.
fn record(kind: u8, content: &[u8]) -> io::Result<Vec<u8>> {
    let [high, low] = u16::try_from(content.len()).map_err(io::Error::other)?.to_be_bytes();
    let mut record = vec![VERSION, kind, 0, REQUEST_ID, high, low, 0, 0];
    record.extend_from_slice(content);
    Ok(record)
}

/// One name-value pair; both are shorter than 128 bytes or have the long form's top bit.
fn param(to: &mut Vec<u8>, name: &[u8], value: &[u8]) -> io::Result<()> {
    for text in [name, value] {
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => to.push(short),
            _ => to.extend_from_slice(&(length | 0x8000_0000).to_be_bytes()),
        }
    }
    to.extend_from_slice(name);
    to.extend_from_slice(value);
    Ok(())
}
