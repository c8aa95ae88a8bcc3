//! Writes the frozen vectors anew: `cargo run -p secure-sessions-core --example generate_vectors`.
//!
//! They must come out as they are. Another outcome is another format, which needs another version byte.
#![expect(clippy::expect_used, reason = "a program for maintainers")]

use std::path::Path;

#[path = "../tests/protocol/support/mod.rs"]
mod support;

fn main() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testvectors");
    for (name, text) in support::generate::files() {
        std::fs::write(directory.join(name), text).expect("the directory of the vectors can be written");
        println!("{name}");
    }
}
