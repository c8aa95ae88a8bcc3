//! A crate's modules as they are written: what each declares, imports and names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, Token, UseTree, Visibility};

/// A module, in a file of its own or inside another one's.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// The names from the crate's root down to it.
    pub(super) path: Vec<String>,
    pub(super) file: PathBuf,
    pub(super) children: BTreeSet<String>,
    /// The items that it defines, but for modules.
    pub(super) items: BTreeSet<String>,
    /// The macros among them that stand at the crate's root for everyone.
    pub(super) exported_macros: BTreeSet<String>,
    /// Names that a `use` brings in, each with its path as written.
    pub(super) imports: BTreeMap<String, Vec<String>>,
    /// The paths of `use path::*`.
    pub(super) globs: Vec<Vec<String>>,
    pub(super) mentions: Vec<Mention>,
}

/// A path in the source.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mention {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    /// Set to `true` if it is a `pub use`, with any degree of `pub`.
    pub(super) is_reexport: bool,
}

/// Reads a crate from its root's file; the root's module is the first.
pub(super) fn read(root: &Path) -> Result<Vec<Module>> {
    let mut modules = Vec::new();
    let folder = root.parent().context("a root has a folder")?;
    read_file(root, folder, Vec::new(), &mut modules)?;
    Ok(modules)
}

/// Reads a module from its file; those of its children are in the folder.
fn read_file(file: &Path, folder: &Path, path: Vec<String>, modules: &mut Vec<Module>) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse {}", file.display()))?;
    read_items(parsed.items, file, folder, path, modules)
}

fn read_items(
    items: Vec<Item>,
    file: &Path,
    folder: &Path,
    path: Vec<String>,
    modules: &mut Vec<Module>,
) -> Result<()> {
    let mut reader = Reader { module: Module { path, file: file.to_owned(), ..Module::default() } };
    let mut children = Vec::new();
    for item in items {
        if is_for_tests(attributes(&item)) {
            continue;
        }
        if let Item::Mod(module) = item {
            reader.module.children.insert(module.ident.to_string());
            children.push(module);
        } else {
            reader.define(&item);
            reader.visit_item(&item);
        }
    }
    let path = reader.module.path.clone();
    modules.push(reader.module);
    for child in children {
        let name = child.ident.to_string();
        let path = [path.as_slice(), std::slice::from_ref(&name)].concat();
        let inner = folder.join(&name);
        if let Some((_, items)) = child.content {
            read_items(items, file, &inner, path, modules)?;
            continue;
        }
        if child.attrs.iter().any(|attribute| attribute.path().is_ident("path")) {
            bail!("{}: the module {name} has a #[path], which this step does not follow", file.display());
        }
        let files = [folder.join(format!("{name}.rs")), inner.join("mod.rs")];
        let found = files.iter().find(|file| file.exists());
        let found = found.with_context(|| format!("{}: the module {name} has no file", file.display()))?;
        read_file(found, &inner, path, modules)?;
    }
    Ok(())
}

/// `#[cfg(test)]`, or `#[cfg(all(test, ..))]`.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    fn needs_test(condition: &Meta) -> bool {
        match condition {
            Meta::Path(path) => path.is_ident("test"),
            Meta::List(list) if list.path.is_ident("all") => list
                .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
                .is_ok_and(|all| all.iter().any(needs_test)),
            _ => false,
        }
    }
    let mut conditions = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    conditions.any(|attribute| attribute.parse_args().is_ok_and(|condition| needs_test(&condition)))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

struct Reader {
    module: Module,
}

impl Reader {
    /// Notes the item's name, if it has one.
    fn define(&mut self, item: &Item) {
        let name = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            Item::Macro(item) => {
                let Some(name) = &item.ident else { return };
                if item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")) {
                    self.module.exported_macros.insert(name.to_string());
                }
                name
            }
            _ => return,
        };
        self.module.items.insert(name.to_string());
    }

    fn mention(&mut self, path: Vec<String>, line: usize, is_reexport: bool) {
        self.module.mentions.push(Mention { path, line, is_reexport });
    }

    fn import(&mut self, tree: &UseTree, mut path: Vec<String>, is_reexport: bool) {
        match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                self.import(&tree.tree, path, is_reexport);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, path.clone(), is_reexport);
                }
            }
            UseTree::Name(name) => self.import_as(&name.ident, &name.ident, path, is_reexport),
            UseTree::Rename(rename) => self.import_as(&rename.ident, &rename.rename, path, is_reexport),
            UseTree::Glob(glob) => {
                self.mention(path.clone(), glob.star_token.spans[0].start().line, is_reexport);
                self.module.globs.push(path);
            }
        }
    }

    fn import_as(&mut self, name: &syn::Ident, known_as: &syn::Ident, mut path: Vec<String>, is_reexport: bool) {
        if name != "self" {
            path.push(name.to_string());
        }
        let known_as = if known_as == "self" { path.last().cloned() } else { Some(known_as.to_string()) };
        self.mention(path.clone(), name.span().start().line, is_reexport);
        self.module.imports.extend(known_as.map(|known_as| (known_as, path)));
    }

    /// Finds the paths in a macro's tokens: names with `::` between them.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        // The number of colons behind the path so far.
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 && !path.is_empty() {
                        self.mention(std::mem::take(&mut path), line, false);
                    }
                    if path.is_empty() {
                        line = name.span().start().line;
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += if colons > 0 || punct.spacing() == Spacing::Joint { 1 } else { 3 };
                }
                TokenTree::Group(group) => {
                    // `use a::{b, c}` in a macro is more than this needs to follow.
                    if !path.is_empty() && (colons != 2 || group.delimiter() != Delimiter::Brace) {
                        self.mention(std::mem::take(&mut path), line, false);
                    }
                    path.clear();
                    colons = 0;
                    self.tokens(group.stream());
                }
                _ => {
                    if !path.is_empty() {
                        self.mention(std::mem::take(&mut path), line, false);
                    }
                    colons = 0;
                }
            }
        }
        if !path.is_empty() {
            self.mention(path, line, false);
        }
    }
}

impl<'a> Visit<'a> for Reader {
    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        let is_reexport = !matches!(item.vis, Visibility::Inherited);
        if item.leading_colon.is_none() {
            self.import(&item.tree, Vec::new(), is_reexport);
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
        {
            let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.mention(names, first.ident.span().start().line, false);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'a syn::Macro) {
        self.visit_path(&called.path);
        self.tokens(called.tokens.clone());
    }

    // `pub(super)` and `#[derive(..)]` use nothing.
    fn visit_visibility(&mut self, _: &'a Visibility) {}

    fn visit_attribute(&mut self, _: &'a Attribute) {}
}

#[cfg(test)]
mod unit {
    use super::*;

    fn module(source: &str) -> Module {
        let mut modules = Vec::new();
        let items = syn::parse_file(source).expect("Rust").items;
        read_items(items, Path::new("a.rs"), Path::new("a"), vec!["a".to_owned()], &mut modules).expect("no files");
        modules.swap_remove(0)
    }

    fn said(source: &str) -> Vec<String> {
        module(source).mentions.iter().map(|mention| format!("{}:{}", mention.path.join("::"), mention.line)).collect()
    }

    #[test]
    fn imports_are_taken_apart() {
        let read = module("use crate::{a::{self, b as c}, d::*};\npub(crate) use self::e::F;\nuse ::g::H;");
        assert_eq!(read.imports["a"], ["crate", "a"]);
        assert_eq!(read.imports["c"], ["crate", "a", "b"]);
        assert_eq!(read.imports["F"], ["self", "e", "F"]);
        assert_eq!(read.globs, [["crate", "d"]]);
        assert_eq!(read.mentions.iter().filter(|mention| mention.is_reexport).count(), 1);
        assert_eq!(read.mentions.len(), 4);
    }

    #[test]
    fn paths_are_found_in_code_and_in_the_tokens_of_macros() {
        assert_eq!(said("pub(super) fn f() {\n super::g::<crate::H>();\n}"), ["super::g:2", "crate::H:2"]);
        let found = said("fn f() {\n assert!(crate::a::b(self::c), \"{}\", x.y);\n}");
        assert_eq!(found, ["assert:2", "crate::a::b:2", "self::c:2", "x:2", "y:2"]);
        assert_eq!(said("macro_rules! m { () => { $crate::a::B } }"), ["macro_rules:1", "crate::a::B:1"]);
    }

    #[test]
    fn what_is_only_for_tests_is_left_out() {
        let source = "#[cfg(test)] mod unit { use crate::x; }
            #[cfg(all(test, feature = \"f\"))] use crate::y;
            #[derive(Debug)] struct Z;";
        let read = module(source);
        assert!(read.children.is_empty() && read.mentions.is_empty(), "{read:?}");
        assert_eq!(read.items, BTreeSet::from(["Z".to_owned()]));
    }
}
