use super::*;

#[test]
fn the_table_is_read() {
    assert!(types().count() > 100);
}
