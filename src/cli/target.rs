//! `APP` and `APP:SLOT` as they are typed.

use super::exit::Failure;
use crate::plan::AppName;

/// An app, or one of its slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppSlot {
    /// The app.
    pub(crate) app: AppName,
    /// Only this slot.
    pub(crate) slot: Option<u32>,
}

/// Reads `APP`.
pub(crate) fn app(text: &str) -> Result<AppName, Failure> {
    // People type the unit's name, too.
    let name = text.strip_suffix(".service").or_else(|| text.strip_suffix(".socket")).unwrap_or(text);
    AppName::new(name).map_err(|error| {
        if let Some((app, slot)) = text.split_once(':').filter(|(app, _)| AppName::new(app).is_ok()) {
            let (app, slot) = (super::print::harmless(app), super::print::harmless(slot));
            return Failure::usage(format!(
                "expected a whole app, not one of its slots: {app} without :{slot}"
            ));
        }
        Failure::usage(format!("\"{}\" is no app: expected {error}", super::print::harmless(text)))
    })
}

/// Reads `APP` or `APP:SLOT`.
pub(crate) fn app_slot(text: &str) -> Result<AppSlot, Failure> {
    let Some((name, slot)) = text.rsplit_once(':') else {
        return Ok(AppSlot { app: app(text)?, slot: None });
    };
    let slot = slot.parse().map_err(|_| {
        let slot = super::print::harmless(slot);
        Failure::usage(format!("\"{slot}\" is no slot: expected a number, as in {name}:0"))
    })?;
    Ok(AppSlot { app: app(name)?, slot: Some(slot) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_may_be_followed_by_a_slot() {
        assert_eq!(app_slot("api").unwrap().slot, None);
        let slot = app_slot("api:3").unwrap();
        assert_eq!((slot.app.as_str(), slot.slot), ("api", Some(3)));
    }

    #[test]
    fn the_name_of_the_unit_is_the_name_of_the_app() {
        assert_eq!(app("api.service").unwrap().as_str(), "api");
    }

    #[test]
    fn a_slot_where_only_an_app_can_be_is_told_as_such() {
        assert!(app("api:0").unwrap_err().message.contains("api without :0"));
    }

    #[test]
    fn other_texts_are_no_apps() {
        for text in ["", "api:", "api:x", "api:-1", "../x", "api:1:2", ":1"] {
            assert!(app_slot(text).is_err(), "{text}");
        }
    }
}
