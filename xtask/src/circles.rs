//! `cargo xtask circles`: which modules of a crate use each other, and that none does so in a circle.
//!
//! A *room* is a module right under the crate's root, with all its children; the root's own file is a room too. An arrow
//! goes from the room that names an item to the room that defines it, whichever re-exports the name went through. Rooms
//! must form no circle, and neither must the files inside one room.
//!
//! Two arrows do not count. A file that declares its children, or re-exports what they define, does not use them by that:
//! it is their list of contents. And inside a room a module and those below it may use each other, as they see each
//! other's private items: they are one thing in several files. Neighbours are not.
//!
//! The parser sees paths: in `use`, in code, and in the tokens of macros. It does not see calls of methods, strings in
//! attributes, or code under `#[cfg(test)]`.
//!
//! The circles that are left are listed in a file, each by the arrow that closes it. The list may only shrink.

mod graph;
mod resolve;
mod source;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use self::graph::Graph;
use crate::metadata;
use crate::workspace;

/// The list of arrows that close circles, in the root.
const KNOWN: &str = "xtask/known-circles.txt";

/// Prints the figures of every crate; an error if there is a circle that is not listed, or a listed arrow closes none.
pub(crate) fn check() -> Result<()> {
    let list = workspace::list(KNOWN)?;
    let mut known: BTreeSet<&str> = list.iter().map(String::as_str).collect();
    let mut complaints = Vec::new();
    println!("{:26} {:>5} {:>6} {:>10} {:>7} {:>6}", "crate", "rooms", "arrows", "in circles", "closing", "files");
    for (name, roots) in metadata::crate_roots()? {
        for root in roots {
            let found = source::read(&root).with_context(|| format!("cannot read {}", root.display()))?;
            let resolved = resolve::arrows(&found);
            let (mut circling, mut closing) = (0, 0);
            for (level, graph) in resolved.levels(&name) {
                let (allowed, rest) = take_known(&mut known, &level, &graph, &mut complaints);
                closing += allowed;
                circling += if level == name { graph.in_circles() } else { 0 };
                complaints.extend(rest.shortest_circles().iter().map(|circle| format!("{level}: a circle\n{circle}")));
            }
            if found.len() > 1 {
                let (rooms, arrows) = resolved.rooms().size();
                println!("{name:26} {rooms:5} {arrows:6} {circling:10} {closing:7} {:6}", resolved.files());
            }
        }
    }
    complaints.extend(known.iter().map(|line| format!("{KNOWN}: there is no such crate or room: {line}")));
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

/// Takes the level's arrows off the list; how many there are, and the graph without them.
fn take_known(known: &mut BTreeSet<&str>, level: &str, graph: &Graph, complaints: &mut Vec<String>) -> (usize, Graph) {
    let mut rest = graph.clone();
    let mine: Vec<(&str, &str, &str)> = known
        .iter()
        .filter_map(|line| {
            let (from, to) = line.strip_prefix(level)?.strip_prefix(": ")?.split_once(" -> ")?;
            Some((*line, from, to))
        })
        .collect();
    for (_, from, to) in &mine {
        rest.remove(from, to);
    }
    for (line, from, to) in &mine {
        known.remove(line);
        if !graph.has(from, to) || !rest.reaches(to, from) {
            complaints.push(format!("{KNOWN}: closes no circle any more, so remove the line: {line}"));
        }
    }
    (mine.len(), rest)
}

#[cfg(test)]
mod unit {
    use super::*;

    fn graph(arrows: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to) in arrows {
            graph.add(from, to, format!("{from}.rs:1"));
        }
        graph
    }

    #[test]
    fn a_listed_arrow_must_still_close_a_circle() {
        let list = BTreeSet::from(["x: b -> a", "x: b -> c", "x: d -> a", "y: b -> a"]);
        let graph = graph(&[("a", "b"), ("b", "a"), ("b", "c")]);
        let (mut known, mut complaints) = (list, Vec::new());
        let (taken, rest) = take_known(&mut known, "x", &graph, &mut complaints);
        assert_eq!(taken, 3);
        assert_eq!(known, BTreeSet::from(["y: b -> a"]));
        assert!(rest.shortest_circles().is_empty());
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints[0].ends_with("x: b -> c") && complaints[1].ends_with("x: d -> a"), "{complaints:?}");
    }
}
