//! The JSON that tells a browser what is bound, and where to renew it.

use std::fmt::Write;

use crate::event::origin::Origin;
use crate::transport::ticket::Devices;

/// Returns the description of a session that begins.
///
/// Every session of a browser has the same name there, so that a login replaces what an earlier one left: a browser
/// with two sessions for one ticket would renew it with the wrong key. The identifier, which carries the key, is in the
/// URL.
pub(super) fn session(identifier: &str, origin: Option<&Origin>, devices: &Devices, is_cross_site: bool) -> String {
    let mut excluded = String::new();
    for path in &devices.settings.exclude {
        let separator = if excluded.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(excluded, r#"{separator}{{"type":"exclude","domain":"*","path":{}}}"#, quoted(path));
    }
    let origin = origin.map(|origin| format!(r#""origin":{},"#, quoted(&origin.to_string()))).unwrap_or_default();
    // After a link from another site the browser refreshes only if that site may cause it. With a cookie that is
    // SameSite itself, any site may: otherwise the user would look logged out.
    let initiators = if is_cross_site { "[]" } else { r#"["*"]"# };
    format!(
        r#"{{"session_identifier":{},"refresh_url":{},"scope":{{{origin}"include_site":false,"scope_specification":[{excluded}]}},"credentials":[{{"type":"cookie","name":{},"attributes":{}}}],"allowed_refresh_initiators":{initiators}}}"#,
        quoted(name(devices)),
        quoted(&format!("{}{identifier}", devices.settings.refresh_path)),
        quoted(&devices.cookie.name),
        quoted(&devices.cookie.attributes),
    )
}

/// Returns the description of a session that is over.
pub(super) fn ended(devices: &Devices) -> String {
    format!(r#"{{"session_identifier":{},"continue":false}}"#, quoted(name(devices)))
}

/// Returns the name by which a browser knows the session that it binds.
pub(super) fn name(devices: &Devices) -> &str {
    &devices.cookie.name
}

/// Writes a JSON string. All that comes here is visible ASCII and blanks.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_of_an_attribute_stay_inside_its_string() {
        assert_eq!(quoted(r#"Path=/a"b\c"#), r#""Path=/a\"b\\c""#);
    }
}
