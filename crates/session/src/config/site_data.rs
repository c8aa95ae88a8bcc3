//! The header `Clear-Site-Data`: the data that a logout asks the browser to remove.

/// A kind of data that a browser keeps for a site (W3C Clear Site Data, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClearSiteData {
    /// Cached responses of this origin, and pages kept for the back button.
    Cache,
    /// *All* cookies of the registrable domain, including its subdomains; not only the session's.
    Cookies,
    /// Scripts' storage of this origin: localStorage, IndexedDB, service workers.
    Storage,
    /// Open documents of this origin, which are reloaded. Few browsers support it.
    ExecutionContexts,
    /// All of these, and whatever later versions of the header add.
    Everything,
}

impl ClearSiteData {
    fn directive(self) -> &'static str {
        match self {
            Self::Cache => "\"cache\"",
            Self::Cookies => "\"cookies\"",
            Self::Storage => "\"storage\"",
            Self::ExecutionContexts => "\"executionContexts\"",
            Self::Everything => "\"*\"",
        }
    }
}

/// Returns the header's value, or `None` for an empty list.
pub(crate) fn header(list: &[ClearSiteData]) -> Option<String> {
    let directives: Vec<_> = list.iter().map(|entry| entry.directive()).collect();
    Some(directives.join(", ")).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_a_list_of_quoted_directives() {
        assert_eq!(header(&[]), None);
        let list = [ClearSiteData::Cache, ClearSiteData::Storage];
        assert_eq!(header(&list).as_deref(), Some("\"cache\", \"storage\""));
    }
}
