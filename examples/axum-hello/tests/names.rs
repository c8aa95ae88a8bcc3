//! Names of other crates do not compile, and the compiler names ours. Each file in `names` tries some, beside what the
//! compiler says to them. They are tried beside this example because it depends on little: all of that is checked once more, in a
//! project of its own.

#[test]
fn the_names_of_other_crates_lead_to_ours() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/names/theirs_*.rs");
}
