//! Misuse does not compile. Each file in `misuse` tries one thing, beside what the compiler says to it.

// Not a case for trybuild: beside one that must compile it would build the dependencies of all, instead of checking them.
#[path = "misuse/the_right_way.rs"]
mod the_right_way;

#[test]
fn the_right_way_compiles_and_runs() {
    the_right_way::main();
}

#[test]
fn what_the_types_forbid_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/misuse/not_*.rs");
}
