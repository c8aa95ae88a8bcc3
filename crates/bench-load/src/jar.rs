//! The cookies that a browser keeps.

/// Cookies by name, and the header that presents them.
#[derive(Debug, Default, Clone)]
pub struct Jar {
    pairs: Vec<(String, String)>,
    header: String,
}

impl Jar {
    /// Takes the values of an answer's `Set-Cookie`: of each name the newest is presented from then on.
    pub fn keep<'a>(&mut self, set_cookie: impl IntoIterator<Item = &'a str>) {
        let mut changed = false;
        for value in set_cookie {
            let pair = value.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.pairs.retain(|(other, _)| other != name);
            self.pairs.push((name.to_owned(), value.to_owned()));
            changed = true;
        }
        if changed {
            let pairs: Vec<String> = self.pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            self.header = pairs.join("; ");
        }
    }

    /// The value of `Cookie`; empty if there is none.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.header
    }

    /// Returns `true` if there is no cookie.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_newest_cookie_of_a_name_is_presented_beside_the_others() {
        let mut jar = Jar::default();
        assert!(jar.is_empty());
        jar.keep(["id=1; Path=/", "theme=dark"]);
        jar.keep(["id=2; HttpOnly"]);
        jar.keep([]);
        assert_eq!(jar.header(), "theme=dark; id=2");
    }
}
