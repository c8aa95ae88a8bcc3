//! Which file each path leads to, as the compiler would find it.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::Graph;
use super::source::Module;
use crate::workspace;

/// The most re-exports that a name may go through: more would be imports that import each other.
const MOST_STEPS: u32 = 16;

/// Between rooms, and between the files of each.
#[derive(Debug, Default)]
pub(super) struct Arrows {
    rooms: Graph,
    inside: BTreeMap<String, Graph>,
    files: usize,
}

impl Arrows {
    pub(super) fn rooms(&self) -> &Graph {
        &self.rooms
    }

    /// Counts the files.
    pub(super) fn files(&self) -> usize {
        self.files
    }

    /// Names each graph: the rooms' as the crate, a room's inside as `crate/room`.
    pub(super) fn levels(&self, name: &str) -> Vec<(String, Graph)> {
        let inside = self.inside.iter().map(|(room, graph)| (format!("{name}/{room}"), graph.clone()));
        std::iter::once((name.to_owned(), self.rooms.clone())).chain(inside).collect()
    }
}

/// Finds what each module's paths lead to.
pub(super) fn arrows(modules: &[Module]) -> Arrows {
    let tree = Tree::new(modules);
    let mut arrows =
        Arrows { files: modules.iter().map(|module| &module.file).collect::<BTreeSet<_>>().len(), ..Arrows::default() };
    for (at, from) in modules.iter().enumerate() {
        arrows.rooms.node(room(from));
        for mention in &from.mentions {
            let Some(to) = tree.leads_to(at, &mention.path).map(|to| &modules[to.module()]) else { continue };
            if from.file == to.file || (mention.is_reexport && to.path.starts_with(&from.path)) {
                continue;
            }
            let file = from.file.strip_prefix(workspace::root()).unwrap_or(&from.file).display().to_string();
            let place = format!("{file}:{}", mention.line);
            if room(from) == room(to) {
                let (from_file, to_file) = (tree.file_path(from), tree.file_path(to));
                if !from_file.starts_with(to_file) && !to_file.starts_with(from_file) {
                    let inside = arrows.inside.entry(room(from).to_owned()).or_default();
                    inside.add(&from_file.join("/"), &to_file.join("/"), place);
                }
            } else {
                arrows.rooms.add(room(from), room(to), place);
            }
        }
    }
    arrows
}

/// The module right under the root that this one belongs to.
fn room(module: &Module) -> &str {
    module.path.first().map_or("root", String::as_str)
}

/// The end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Module(usize),
    /// Something that this module defines.
    Item(usize),
}

impl Found {
    fn module(self) -> usize {
        match self {
            Self::Module(at) | Self::Item(at) => at,
        }
    }
}

struct Tree<'m> {
    modules: &'m [Module],
    by_path: BTreeMap<&'m [String], usize>,
}

impl<'m> Tree<'m> {
    fn new(modules: &'m [Module]) -> Self {
        let by_path = modules.iter().enumerate().map(|(at, module)| (module.path.as_slice(), at)).collect();
        Self { modules, by_path }
    }

    /// The path of the module that a file belongs to: the shortest of those that are written in it.
    fn file_path<'p>(&self, module: &'p Module) -> &'p [String]
    where
        'm: 'p,
    {
        let same = self.modules.iter().filter(|other| other.file == module.file);
        &same.min_by_key(|other| other.path.len()).unwrap_or(module).path
    }

    /// Returns the end of a path that is mentioned in a module; `None` if it leads out of the crate.
    fn leads_to(&self, from: usize, path: &[String]) -> Option<Found> {
        // A single name may be a variable that is called like a module; a module alone is nothing to use, either.
        let alone = path.len() == 1 && self.modules[from].children.contains(&path[0]);
        if alone { None } else { self.resolve(from, path, MOST_STEPS) }
    }

    fn resolve(&self, from: usize, path: &[String], steps: u32) -> Option<Found> {
        let steps = steps.checked_sub(1)?;
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => 0,
            "self" => from,
            "super" => self.parent(from)?,
            name => match self.look_up(from, name, steps)? {
                Found::Module(at) => at,
                item @ Found::Item(_) => return Some(item),
            },
        };
        while let Some((name, after)) = rest.split_first() {
            rest = after;
            if name == "super" {
                at = self.parent(at)?;
                continue;
            }
            match self.look_up(at, name, steps) {
                Some(Found::Module(module)) => at = module,
                Some(item @ Found::Item(_)) => return Some(item),
                None if self.modules[at].imports.contains_key(name) => return None,
                None if at == 0 => {
                    let exports = |module: &Module| module.exported_macros.contains(name);
                    return Some(Found::Item(self.modules.iter().position(exports).unwrap_or(0)));
                }
                // A macro may define more than can be read.
                None => return Some(Found::Item(at)),
            }
        }
        Some(Found::Module(at))
    }

    /// A name in a module.
    fn look_up(&self, at: usize, name: &str, steps: u32) -> Option<Found> {
        let module = &self.modules[at];
        if module.children.contains(name) {
            let path = [module.path.as_slice(), &[name.to_owned()]].concat();
            return self.by_path.get(path.as_slice()).copied().map(Found::Module);
        }
        if module.items.contains(name) {
            return Some(Found::Item(at));
        }
        if let Some(path) = module.imports.get(name) {
            // `use time;` would be found in itself for ever.
            return if path.len() > 1 { self.resolve(at, path, steps) } else { None };
        }
        module.globs.iter().find_map(|glob| match self.resolve(at, glob, steps)? {
            Found::Module(other) if other != at => self.look_up(other, name, steps.checked_sub(1)?),
            _ => None,
        })
    }

    fn parent(&self, at: usize) -> Option<usize> {
        let (_, parent) = self.modules[at].path.split_last()?;
        self.by_path.get(parent).copied()
    }
}

#[cfg(test)]
mod unit {
    use super::super::source::Mention;
    use super::*;

    fn module(path: &[&str], children: &[&str], items: &[&str]) -> Module {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Module {
            path: path.iter().map(ToString::to_string).collect(),
            file: format!("src/{}.rs", path.join("/")).into(),
            children: owned(children),
            items: owned(items),
            ..Module::default()
        }
    }

    fn path(written: &str) -> Vec<String> {
        written.split("::").map(str::to_owned).collect()
    }

    fn mention(module: &mut Module, written: &str, is_reexport: bool) {
        module.mentions.push(Mention { path: path(written), line: 1, is_reexport });
        if is_reexport {
            module.imports.insert(path(written).pop().unwrap_or_default(), path(written));
        }
    }

    /// A root that re-exports `a::inner::X` through `a`; `b` is to mention something.
    fn tree(mentioned: &str) -> Vec<Module> {
        let mut root = module(&[], &["a", "b"], &["f"]);
        let mut a = module(&["a"], &["inner"], &["Y"]);
        let mut inner = module(&["a", "inner"], &[], &["X"]);
        let mut b = module(&["b"], &[], &["B"]);
        mention(&mut root, "self::a::X", true);
        mention(&mut a, "self::inner::X", true);
        inner.exported_macros.insert("shout".to_owned());
        mention(&mut b, mentioned, false);
        vec![root, a, inner, b]
    }

    #[test]
    fn an_arrow_goes_to_where_a_name_is_defined_whoever_reexports_it() {
        for (written, to) in [
            ("crate::X", "a"),
            ("crate::a::X::new", "a"),
            ("super::a::inner::X", "a"),
            ("crate::f", "root"),
            ("crate::shout", "a"),
            ("super::a", "a"),
        ] {
            let found = arrows(&tree(written));
            assert!(found.rooms.has("b", to), "{written}: {found:?}");
            assert_eq!(found.rooms.size(), (3, 1), "{written}: a re-export of what children define is no arrow");
        }
        for written in ["std::fs", "a", "B", "self::B", "Self::new"] {
            assert_eq!(arrows(&tree(written)).rooms.size().1, 0, "{written}");
        }
    }

    #[test]
    fn files_of_a_room_have_arrows_except_between_a_module_and_its_descendants() {
        let mut modules = tree("std::fs");
        modules[1].children.insert("outer".to_owned());
        modules.push(module(&["a", "outer"], &[], &["Z"]));
        mention(&mut modules[2], "super::Y", false);
        mention(&mut modules[1], "inner::X", false);
        assert!(arrows(&modules).inside.is_empty());
        mention(&mut modules[2], "super::outer::Z", false);
        let found = arrows(&modules);
        assert_eq!(found.rooms.size().1, 0);
        assert!(found.inside["a"].has("a/inner", "a/outer"));
        assert_eq!(found.inside["a"].size().1, 1);
    }
}
