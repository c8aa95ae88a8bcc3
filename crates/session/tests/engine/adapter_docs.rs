//! Checks that the adapters' methods carry the documentation of the engine's methods, word for word.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The words of each method's documentation in the blocks `impl Session` and `impl Vault` of a file, by type and name.
fn documented(path: &Path) -> BTreeMap<String, Vec<String>> {
    let source = fs::read_to_string(path).unwrap();
    let (mut methods, mut words, mut block) = (BTreeMap::new(), Vec::new(), None);
    for line in source.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(of) = text.strip_prefix("impl ").and_then(|text| text.strip_suffix(" {"))
            && ["Session", "Vault"].contains(&of)
        {
            block = Some((indent, of));
            words.clear();
        } else if text == "}" && block.is_some_and(|(opened, _)| opened == indent) {
            block = None;
        } else if let Some(doc) = text.strip_prefix("///") {
            words.extend(doc.split_whitespace().map(str::to_owned));
        } else if !text.starts_with("#[") {
            let declared = text.trim_start_matches("pub ").trim_start_matches("async ").trim_start_matches("fn ");
            let name: String = declared.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let said = std::mem::take(&mut words);
            if let Some((_, of)) = block
                && !said.is_empty()
                && !name.is_empty()
            {
                methods.insert(format!("{of}::{name}"), said);
            }
        }
    }
    methods
}

/// The engine's error is under another name in an adapter.
fn in_an_adapter(words: &[String]) -> String {
    let text = words.join(" ");
    let mut parts = text.split("[`SessionError::");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let (variant, rest) = part.split_once("`]").unwrap();
        let target = if rest.starts_with('(') { String::new() } else { format!("(crate::EngineError::{variant})") };
        out += &format!("[`SessionError::{variant}`]{target}{rest}");
    }
    out
}

#[test]
fn an_adapters_methods_say_what_the_engines_say() {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut engine = documented(&source.join("session.rs"));
    engine.extend(documented(&source.join("subjects.rs")));
    for file in fs::read_dir(source.join("session")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            engine.extend(documented(&path));
        }
    }
    let mut compared = 0;
    for file in ["adapter_types.rs", "adapter_access.rs"] {
        for (name, words) in documented(&source.join(file)) {
            let expected = engine.get(&name).map(|words| in_an_adapter(words));
            assert_eq!(Some(words.join(" ")), expected, "`{name}` in {file}: copy the engine's text");
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared} methods");
}
