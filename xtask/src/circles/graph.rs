//! Nodes by name, arrows between them, and the circles that these form.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The uses between nodes. Each arrow keeps the places that draw it.
#[derive(Debug, Default, Clone)]
pub(super) struct Graph {
    arrows: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Graph {
    /// Adds a node, with or without arrows.
    pub(super) fn node(&mut self, name: &str) {
        self.arrows.entry(name.to_owned()).or_default();
    }

    /// Adds an arrow, or one more place to one that is there.
    pub(super) fn add(&mut self, from: &str, to: &str, place: String) {
        self.node(to);
        self.arrows.entry(from.to_owned()).or_default().entry(to.to_owned()).or_default().push(place);
    }

    pub(super) fn remove(&mut self, from: &str, to: &str) {
        if let Some(arrows) = self.arrows.get_mut(from) {
            arrows.remove(to);
        }
    }

    pub(super) fn has(&self, from: &str, to: &str) -> bool {
        self.arrows.get(from).is_some_and(|arrows| arrows.contains_key(to))
    }

    /// Counts nodes and arrows.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.arrows.len(), self.arrows.values().map(BTreeMap::len).sum())
    }

    /// Returns `true` if arrows lead from one node to the other.
    pub(super) fn reaches(&self, from: &str, to: &str) -> bool {
        self.way(from, to).is_some()
    }

    /// Counts the nodes that lie on a circle.
    pub(super) fn in_circles(&self) -> usize {
        self.arrows.keys().filter(|node| self.shortest_circle(node).is_some()).count()
    }

    /// Describes circles until every node on a circle has been named: each arrow on a line, with a place that draws it.
    pub(super) fn shortest_circles(&self) -> Vec<String> {
        let mut named = BTreeSet::new();
        let mut circles = Vec::new();
        for node in self.arrows.keys() {
            if named.contains(node.as_str()) {
                continue;
            }
            if let Some(circle) = self.shortest_circle(node) {
                circles.push(self.described(&circle));
                named.extend(circle);
            }
        }
        circles
    }

    /// The nodes of the shortest circle through this one, which is named first and last.
    fn shortest_circle<'g>(&'g self, node: &'g str) -> Option<Vec<&'g str>> {
        let next = self.arrows.get(node)?.keys();
        let ways = next.filter_map(|next| self.way(next, node));
        let mut circle = vec![node];
        circle.extend(ways.min_by_key(Vec::len)?);
        Some(circle)
    }

    /// The nodes of a shortest way from one to another, both named.
    fn way<'g>(&'g self, from: &'g str, to: &str) -> Option<Vec<&'g str>> {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut next = VecDeque::from([from]);
        while let Some(node) = next.pop_front() {
            if node == to {
                let mut way = vec![node];
                while let Some(earlier) = way.last().filter(|last| **last != from).and_then(|last| before.get(last)) {
                    way.push(earlier);
                }
                way.reverse();
                return Some(way);
            }
            for other in self.arrows.get(node).into_iter().flat_map(BTreeMap::keys) {
                if other != from && !before.contains_key(other.as_str()) {
                    before.insert(other, node);
                    next.push_back(other);
                }
            }
        }
        None
    }

    fn described(&self, circle: &[&str]) -> String {
        let lines = circle.windows(2).filter_map(|pair| {
            let [from, to] = pair else { return None };
            let places = self.arrows.get(*from)?.get(*to)?;
            let more = if places.len() > 1 { format!(" and {} more", places.len() - 1) } else { String::new() };
            Some(format!("  {from} -> {to}: {}{more}", places.first()?))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_circle_is_found_and_told_with_the_lines_that_draw_it() {
        let mut graph = Graph::default();
        for (from, to, line) in [("a", "b", 1), ("b", "c", 2), ("c", "a", 3), ("c", "a", 4), ("c", "d", 5)] {
            graph.add(from, to, format!("{from}.rs:{line}"));
        }
        assert_eq!(graph.size(), (4, 4));
        assert_eq!(graph.in_circles(), 3);
        assert_eq!(graph.shortest_circles(), ["  a -> b: a.rs:1\n  b -> c: b.rs:2\n  c -> a: c.rs:3 and 1 more"]);
        assert!(graph.reaches("b", "d") && !graph.reaches("d", "b"));
        graph.remove("c", "a");
        assert_eq!(graph.in_circles(), 0);
        assert!(graph.shortest_circles().is_empty());
    }

    #[test]
    fn two_knots_are_two_circles() {
        let mut graph = Graph::default();
        for (from, to) in [("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "c")] {
            graph.add(from, to, "x".to_owned());
        }
        assert_eq!(graph.shortest_circles().len(), 2);
    }
}
