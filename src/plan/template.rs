//! Text with the slot number in it: `{slot}` or `{9100+slot}`.

use std::fmt;

/// A text that differs per slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotTemplate(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Slot { plus: u32 },
}

/// Why a text is no template; a fragment for "expected …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError(pub &'static str);

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for TemplateError {}

impl SlotTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// When a brace is not closed or holds anything but `slot` or `NUMBER+slot`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        const EXPECTED: TemplateError = TemplateError("\"{slot}\" or \"{9100+slot}\" between braces");
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) = after.split_once('}').ok_or(EXPECTED)?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let plus = match inside.trim().strip_suffix("slot").map(str::trim_end) {
                Some("") => 0,
                Some(sum) => {
                    let number = sum.strip_suffix('+').ok_or(EXPECTED)?;
                    number.trim().parse().map_err(|_| EXPECTED)?
                }
                None => return Err(EXPECTED),
            };
            pieces.push(Piece::Slot { plus });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// Whether two slots get different texts.
    #[must_use]
    pub fn differs_per_slot(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Slot { .. }))
    }

    /// The text for `slot`.
    #[must_use]
    pub fn render(&self, slot: u32) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Slot { plus } => plus.saturating_add(slot).to_string(),
            })
            .collect()
    }

    /// The template as it was written, in its shortest form.
    #[must_use]
    pub fn source(&self) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Slot { plus: 0 } => "{slot}".to_owned(),
                Piece::Slot { plus } => format!("{{{plus}+slot}}"),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_is_filled_in() {
        let template = SlotTemplate::parse("127.0.0.1:{9100+slot}/{slot}").unwrap();
        assert_eq!(template.render(3), "127.0.0.1:9103/3");
        assert_eq!(template.source(), "127.0.0.1:{9100+slot}/{slot}");
    }

    #[test]
    fn other_braces_are_refused() {
        for text in ["{", "{x}", "{slot+1}", "{1 slot}", "{99999999999+slot}"] {
            assert!(SlotTemplate::parse(text).is_err(), "{text} was accepted");
        }
    }
}
