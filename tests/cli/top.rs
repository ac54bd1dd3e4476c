//! `ganger top` where there is no terminal; `tests/top.rs` has what is seen on one.

#[test]
fn without_a_terminal_there_is_no_live_view() {
    let root = tempfile::tempdir().unwrap();
    let shown = crate::fake::run(root.path(), &["top"]);
    assert_eq!((shown.code, shown.out.as_str()), (Some(1), ""));
    assert!(shown.err.contains("must be a terminal"), "{}", shown.err);
}
