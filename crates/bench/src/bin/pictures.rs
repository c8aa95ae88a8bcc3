//! Draws what the last runs of the benchmarks have found: `pictures`.

use anyhow::{Result, ensure};

fn main() -> Result<()> {
    let drawn = bench::pictures::draw()?;
    ensure!(!drawn.is_empty(), "no benchmark has run yet: `cargo xtask bench`, `cargo xtask bench growth`");
    drawn.iter().for_each(|picture| println!("{}", picture.display()));
    Ok(())
}
