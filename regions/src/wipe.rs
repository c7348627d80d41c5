//! Values that hold secrets are overwritten before they are let go.

use serde_json::Value;
use zeroize::Zeroize as _;

/// Overwrites every text in a value.
pub(crate) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_left() {
        let mut value = json!({"a": "canary", "b": [{"c": "canary"}], "d": 1});
        wipe(&mut value);
        assert_eq!(value, json!({"a": "", "b": [{"c": ""}], "d": 1}));
    }
}
