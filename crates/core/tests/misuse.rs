//! Misuse does not compile. Each file in `misuse` tries one thing, beside what the compiler says to it.

#[test]
fn what_the_types_forbid_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/misuse/the_right_way.rs");
    cases.compile_fail("tests/misuse/not_*.rs");
}
