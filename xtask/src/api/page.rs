//! One page of rustdoc's, as lines of text.

use std::path::Path;

/// The kinds of pages that stand for an item, by the first part of their names.
const KINDS: [&str; 11] =
    ["attr.", "constant.", "derive.", "enum.", "fn.", "macro.", "static.", "struct.", "trait.", "traitalias.", "type."];

/// `id::struct.Bucket.html` as `id::Bucket`; `None` for a page that is no item.
pub(super) fn item_path(file: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = file.iter().map(|part| part.to_str()).collect();
    let mut parts = parts?;
    let page = parts.pop()?;
    if page == "index.html" {
        return Some(parts.join("::"));
    }
    let name = KINDS.iter().find_map(|kind| page.strip_prefix(kind)?.strip_suffix(".html"))?;
    parts.push(name);
    Some(parts.join("::"))
}

/// The item's declaration, its own methods, and which traits it implements.
pub(super) fn lines(path: &str, page: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(declaration) = between(page, "<pre class=\"rust item-decl\"><code>", "</code></pre>") {
        lines.push(format!("{path}: {}", plain(declaration)));
    }
    for heading in headings(section(page, "implementations"), &["h3", "h4"]) {
        lines.push(format!("{path}: {heading}"));
    }
    for heading in headings(section(page, "trait-implementations"), &["h3"]) {
        lines.push(format!("{path}: {heading}"));
    }
    for reexport in section(page, "reexports").split("<code>").skip(1) {
        let (reexport, _) = reexport.split_once("</code>").unwrap_or_default();
        lines.push(format!("{path}: {}", plain(reexport)));
    }
    lines
}

/// From one heading of the second level to the next.
fn section<'p>(page: &'p str, id: &str) -> &'p str {
    let opening = format!("<h2 id=\"{id}\"");
    let Some((_, rest)) = page.split_once(&opening) else { return "" };
    rest.split_once("<h2 id=\"").map_or(rest, |(section, _)| section)
}

/// The code in headings of these levels.
fn headings(section: &str, levels: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for part in section.split("<h").skip(1) {
        let Some((level, rest)) = part.split_once(" class=\"code-header\">") else { continue };
        let level = format!("h{level}");
        if levels.contains(&level.as_str())
            && let Some((code, _)) = rest.split_once(&format!("</{level}>"))
        {
            found.push(plain(code));
        }
    }
    found
}

/// Text without tags and comments, with single spaces.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        let (tag, after) = tag.split_once('>').unwrap_or((tag, ""));
        rest = after;
        // "Show 12 fields" is not part of the declaration; nor is what a block's end joins.
        if tag.starts_with("summary") {
            rest = after.split_once("</summary>").map_or("", |(_, after)| after);
        } else if tag.starts_with("div") || tag == "/div" || tag.starts_with("span class=\"item-spacer\"") {
            text.push(' ');
        }
    }
    text.push_str(rest);
    let text =
        ["&lt;<", "&gt;>", "&quot;\"", "&#39;'", "&#x27;'", "&nbsp; ", "&amp;&"].iter().fold(text, |text, pair| {
            let (entity, plain) = pair.split_at(pair.len() - 1);
            text.replace(entity, plain)
        });
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

fn between<'p>(text: &'p str, opening: &str, closing: &str) -> Option<&'p str> {
    Some(text.split_once(opening)?.1.split_once(closing)?.0)
}

#[cfg(test)]
mod unit {
    use super::*;

    const PAGE: &str = r##"<pre class="rust item-decl"><code>pub struct Pair&lt;'a, B&gt;<div class="where">where
    B: <a class="trait" href="x">ToOwned</a> + 'a,</div>{
<details class="toggle type-contents-toggle"><summary class="hideme"><span>Show 2 fields</span></summary>    pub a: <a href="y">&amp;'a B</a>,
    <span class="comment">// some fields omitted</span>
}</code></pre><h2 id="fields"><h3 class="code-header">not this</h3>
<h2 id="implementations" class="section-header">Implementations</h2><section><h3 class="code-header">impl&lt;B&gt; Pair&lt;'_, B&gt;</h3></section>
<h4 class="code-header">pub const fn <a class="fn">new</a>() -&gt; Self</h4><div class="docblock"><h4>Errors</h4></div>
<h2 id="trait-implementations"><h3 class="code-header">impl Debug for Pair</h3><h4 class="code-header">fn fmt(&amp;self)</h4>
<h2 id="synthetic-implementations"><h3 class="code-header">impl Send for Pair</h3>"##;

    #[test]
    fn a_page_says_what_the_item_is_what_it_can_do_and_what_it_implements() {
        assert_eq!(
            lines("m::Pair", PAGE),
            [
                "m::Pair: pub struct Pair<'a, B> where B: ToOwned + 'a, { pub a: &'a B, }",
                "m::Pair: impl<B> Pair<'_, B>",
                "m::Pair: pub const fn new() -> Self",
                "m::Pair: impl Debug for Pair",
            ]
        );
    }

    #[test]
    fn only_the_pages_of_items_and_modules_count() {
        let path = |file: &str| item_path(Path::new(file));
        assert_eq!(path("format/constant.KEY_LEN.html").as_deref(), Some("format::KEY_LEN"));
        assert_eq!(path("index.html").as_deref(), Some(""));
        assert_eq!(path("all.html"), None);
        assert_eq!(path("sidebar-items.js"), None);
    }
}
