//! Tests of grid files: text in, rows or a list of problems out.

use super::*;

fn read_text(text: &str) -> Result<Grid> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.toml");
    std::fs::write(&path, text).unwrap();
    read(&path)
}

fn names(text: &str) -> Vec<String> {
    read_text(text).unwrap().rows.into_iter().map(|row| row.name).collect()
}

#[test]
fn rows_and_combinations_keep_their_order() {
    let text = "seeds = [2, 0]\n[[row]]\nname = 'a b'\nset.train.batch = 2\n[[row]]\nname = 'c'\nretrain = true\n\
                set = { \"search.beam\" = 9 }\n[grid]\nindex.levels = [8, 12]\n\"index.family\" = ['rq', 'tree']";
    let grid = read_text(text).unwrap();
    assert_eq!(grid.seeds, [2, 0]);
    let [a, c, ..] = &grid.rows[..] else { panic!("{grid:?}") };
    assert_eq!((a.folder().as_str(), a.retrain, a.written), ("a-b", false, true));
    assert_eq!(a.set, Table::from_iter([("train.batch".into(), Value::Integer(2))]));
    assert!(c.retrain);
    let of = |family: &str, levels: u8| format!("index.family={family}, index.levels={levels}");
    assert_eq!(names(text)[2..], [of("rq", 8), of("rq", 12), of("tree", 8), of("tree", 12)]);
}

#[test]
fn several_grids_are_not_multiplied() {
    let text = "[[grid]]\nindex.levels = [4, 8]\n[[grid]]\nsearch.beam = [1, 2, 3]";
    let expected = ["index.levels=4", "index.levels=8", "search.beam=1", "search.beam=2", "search.beam=3"];
    assert_eq!(names(text), expected);
}

#[test]
fn all_that_is_no_grid_is_said_with_the_row() {
    let row = |text: &str| format!("[[row]]\nname = 'x'\nset.train.batch = 2\n{text}");
    for (text, wanted) in [
        (String::new(), "g.toml: has no rows: write [[row]]"),
        ("seed = 3".into(), "\"seed\" is not a key of a grid; there are seeds, row, grid"),
        (row("[[rows]]"), "\"rows\" is not a key of a grid"),
        (row("sets = 3"), "\"sets\" is not a key of row \"x\"; there are name, set, retrain"),
        (row("retrain = 1"), "row \"x\": retrain = 1 is not allowed: it takes true or false"),
        ("[[row]]\nset.train.batch = 2".into(), "row 1 has no name"),
        ("[[row]]\nname = 'x'".into(), "row \"x\" sets nothing"),
        ("[[row]]\nname = 'x'\nset = {}".into(), "row \"x\" sets nothing"),
        ("row = 3".into(), "row = 3: write [[row]]"),
        (row("[[row]]\nname = 'X'\nset.seed = 1"), "row \"X\" and row \"x\" would share a folder"),
        (row("[[row]]\nname = 'X'\nset.seed = 1"), "row \"X\": seed cannot be set: every row"),
        (row("set.device = 'cpu'"), "row \"x\": device cannot be set: all rows run on one device"),
        (row("set.pretrain.steps = 1"), "row \"x\": pretrain.steps cannot be set: is for dsi pretrain"),
        ("[[row]]\nname = 'Base'\nset.train.batch = 2".into(), "row \"Base\" and row \"base\" would share"),
        ("[[row]]\nname = '/é/'\nset.train.batch = 2".into(), "names a folder too"),
        ("[grid]\nindex.levels = 8".into(), "[grid]: index.levels = 8 is not allowed: it takes a list"),
        ("[grid]\nindex.levels = []".into(), "index.levels = [] is not allowed"),
        ("[grid]\nindex.levels = [8, 8]".into(), "each once"),
        (
            "[grid]\nindex.levels = [8]\n\"index.levels\" = [9]".into(),
            "[grid]: index.levels stands there twice",
        ),
        ("[grid]\nseed = [8]".into(), "[grid]: seed cannot be set"),
        ("seeds = 3".into(), "seeds = 3 is not allowed: it takes a list of whole numbers, each once"),
        ("seeds = [0, 0]".into(), "seeds = [0, 0]"),
        ("seeds = [-1]".into(), "seeds = [-1]"),
    ] {
        let error = read_text(&text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    assert!(read_text("[row").unwrap_err().to_string().contains("g.toml, line 1: is not TOML"));
}

#[test]
fn a_grid_that_would_take_for_ever_is_refused_before_it_is_made() {
    let values: Vec<String> = (0..200).map(|x| x.to_string()).collect();
    let axis = |key: &str| format!("{key} = [{}]\n", values.join(", "));
    let axes: Vec<String> = (0..12).map(|n| axis(&format!("x{n}"))).collect();
    let text = format!("[grid]\n{}", axes.concat());
    assert!(read_text(&text).unwrap_err().to_string().contains("1000 are allowed"));
}

#[test]
fn a_name_cannot_leave_its_folder() {
    let folder = |name: &str| Row { name: name.into(), ..Row::base() }.folder();
    assert_eq!(folder("../../etc/passwd"), "etc-passwd");
    assert_eq!(folder("-rf .x, y=2"), "rf-.x-y=2");
    assert_eq!(folder("…"), "");
}
