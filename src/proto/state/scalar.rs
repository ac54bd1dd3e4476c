//! The document's smallest values: spans, instants, and text that need not be UTF-8.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// A span, or an instant since the clock's origin: `[seconds, nanoseconds]`, so that nothing is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0.as_secs(), self.0.subsec_nanos()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (secs, nanos) = <(u64, u32)>::deserialize(deserializer)?;
        if nanos >= 1_000_000_000 {
            return Err(de::Error::custom("a second has fewer nanoseconds"));
        }
        Ok(Self(Duration::new(secs, nanos)))
    }
}

/// Text of the system: a string where it is UTF-8, else an array of bytes. `Debug` shows only its length:
/// most of what is carried so may be secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_seq(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrBytes)
    }
}

struct TextOrBytes;

impl<'de> Visitor<'de> for TextOrBytes {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
        Ok(Bytes(text.as_bytes().to_vec()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(Bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn text_that_is_not_utf_8_comes_back_as_it_was() {
        for (bytes, written) in [
            (&b"/srv/\xfcber"[..], "[47,115,114,118,47,252,98,101,114]"),
            (b"a\"\n\0", "\"a\\\"\\n\\u0000\""),
        ] {
            let value = Bytes(bytes.to_vec());
            assert_eq!(text(&value), written);
            assert_eq!(serde_json::from_str::<Bytes>(written).unwrap(), value);
        }
        for bad in ["[256]", "[-1]", "7", "null", "[\"a\"]"] {
            assert!(serde_json::from_str::<Bytes>(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn the_longest_span_comes_back_to_the_nanosecond() {
        for span in [Span(Duration::MAX), Span(Duration::ZERO), Span(Duration::new(7, 999_999_999))] {
            assert_eq!(serde_json::from_str::<Span>(&text(&span)).unwrap(), span);
        }
        for bad in ["[1,1000000000]", "[1]", "[1,2,3]", "5", "[-1,0]"] {
            assert!(serde_json::from_str::<Span>(bad).is_err(), "{bad} was accepted");
        }
    }
}
