//! What a logout asks the browser to forget: the header `Clear-Site-Data`.

/// Something that a browser keeps of a site (W3C Clear Site Data, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClearSiteData {
    /// The responses that it cached from this origin, and pages kept for the back button.
    Cache,
    /// *All* cookies of the registrable domain, subdomains included; not only the session's.
    Cookies,
    /// Scripts' storage of this origin: localStorage, IndexedDB, service workers.
    Storage,
    /// Documents of this origin that are open: they are reloaded. Few browsers know it.
    ExecutionContexts,
    /// Everything, and what later versions of the header add.
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

/// The header's value; `None` for an empty list.
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
