//! Paths that are exempt from the check.

/// One path, or all below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PathRule {
    Exact(String),
    /// All paths below this one, which ends with a slash.
    Below(String),
}

impl PathRule {
    /// Parses `/hook` or `/hooks/*`. Returns `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rule = match text.strip_suffix('*') {
            Some(prefix) if prefix.ends_with('/') => Self::Below(prefix.to_owned()),
            Some(_) => return None,
            None => Self::Exact(text.to_owned()),
        };
        let (Self::Exact(path) | Self::Below(path)) = &rule;
        let is_path =
            path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#*".contains(&byte));
        (is_path && is_plain(path)).then_some(rule)
    }

    /// Returns `true` if the rule covers the path. A path that another program could resolve to one outside is never
    /// below.
    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Below(prefix) => path.starts_with(prefix) && is_plain(path),
        }
    }
}

/// Returns `true` if the path means the same to every program: no dot segments, empty segments, backslashes or encoded
/// forms of them.
fn is_plain(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let encoded = ["%2e", "%2f", "%5c", "\\", "//"].iter().any(|form| lower.contains(form));
    let dots = lower.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")));
    !encoded && !dots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_path_or_all_below_one() {
        for text in ["/hook", "/hooks/*", "/*"] {
            assert!(PathRule::parse(text).is_some(), "{text}");
        }
        for text in ["", "hook", "/hook*", "/a/*/b", "/a?b", "/a/../b", "/a//*", "*"] {
            assert!(PathRule::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_path_that_may_lead_elsewhere_is_not_below() {
        let rule = PathRule::parse("/hooks/*").expect("a rule");
        for path in ["/hooks/", "/hooks/a", "/hooks/a/b.c", "/hooks/..a"] {
            assert!(rule.matches(path), "{path}");
        }
        for path in [
            "/hooks",
            "/hooksx/a",
            "/hooks/../pay",
            "/hooks/%2e%2E/pay",
            "/hooks/..%2fpay",
            "/hooks/..;x/pay",
            "/hooks/.",
            "/hooks//pay",
            "/hooks/\\..\\pay",
        ] {
            assert!(!rule.matches(path), "{path}");
        }
        assert!(!PathRule::parse("/hook").expect("a rule").matches("/hook/"));
    }
}
