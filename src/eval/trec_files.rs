//! Run and qrels files in the format of TREC, from which `trec_eval`, `ir_measures` and others compute the
//! same metrics.
//!
//! - run: `qid Q0 docno rank score tag`; qrels: `qid 0 docno 1`; one line per image, fields separated by
//!   spaces.
//! - **Ids.** Fields cannot contain white space, so white space, control characters and `%` of an id are
//!   percent-encoded (UTF-8 bytes, as in URLs), in both files alike.
//! - **Scores.** Readers ignore the rank, sort by score again and break ties by docno. A score that is not
//!   below the one before it is therefore written as the next lower `f32`, so that they keep the order.
//!   Scores have the digits of an `f64`, so that readers of either width see the same `f32`.
//! - A query with an empty list has no line in the run. It still counts as a miss because the qrels have it
//!   (`trec_eval` needs `-c` for that; `ir_measures` always does it).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use crate::error::{Error, Result};
use crate::file_io;
use crate::file_io::write_atomic;

/// Larger scores, infinities included, are written as this one. Ten million floats lie below
/// `-LARGEST_SCORE`, so even a list of infinities can descend.
const LARGEST_SCORE: f32 = 1e38;
/// Bytes of the longest line that is read: ids are file names, possibly percent-encoded.
const LONGEST_LINE: u64 = 64 * 1024;

/// Writes a run file: for each query id its list, best first, as (name, score) pairs; `tag` names the system.
///
/// # Errors
/// When the file cannot be written, or an id or the tag is empty.
pub fn write_run<Q: AsRef<str>, D: AsRef<str>>(
    path: &Path,
    tag: &str,
    lists: impl IntoIterator<Item = (Q, Vec<(D, f32)>)>,
) -> Result<()> {
    write_atomic(path, |out| {
        let tag = field(tag)?;
        for (query, list) in lists {
            let query = field(query.as_ref())?;
            let scores = strict_scores(list.iter().map(|(_, score)| *score));
            for (rank, ((docno, _), score)) in (1..).zip(list.iter().zip(scores)) {
                let docno = field(docno.as_ref())?;
                writeln!(out, "{query} Q0 {docno} {rank} {:?} {tag}", f64::from(score))?;
            }
        }
        Ok(())
    })
}

/// Writes a qrels file: pairs of a query id and the name of a right answer; a query with several has several
/// pairs.
///
/// # Errors
/// When the file cannot be written, or an id is empty.
pub fn write_qrels<Q: AsRef<str>, D: AsRef<str>>(
    path: &Path,
    right: impl IntoIterator<Item = (Q, D)>,
) -> Result<()> {
    write_atomic(path, |out| {
        for (query, docno) in right {
            writeln!(out, "{} 0 {} 1", field(query.as_ref())?, field(docno.as_ref())?)?;
        }
        Ok(())
    })
}

/// The (query, right answer) pairs of a qrels file, with encoded ids.
///
/// # Errors
/// When the file cannot be read or has another format.
pub fn read_qrels(path: &Path) -> Result<Vec<(String, String)>> {
    let mut lines = Vec::new();
    each_line(path, |fields: [&str; 4]| lines.push((fields[0].to_owned(), fields[2].to_owned())))?;
    Ok(lines)
}

/// For each query of a run file the one-based rank of its `right` answer; queries that miss it are left out.
/// Lists are best first, as [`write_run`] writes them.
///
/// # Errors
/// When the file cannot be read or has another format.
pub fn read_ranks(path: &Path, right: &HashMap<&str, &str>) -> Result<HashMap<String, usize>> {
    let mut ranks = HashMap::new();
    let mut place = (String::new(), 0);
    each_line(path, |[query, _, document, ..]: [&str; 6]| {
        if place.0 != query {
            place = (query.to_owned(), 0);
        }
        place.1 += 1;
        if right.get(query) == Some(&document) {
            ranks.entry(query.to_owned()).or_insert(place.1);
        }
    })?;
    Ok(ranks)
}

/// Reads a file line by line, each of `N` fields, and refuses lines that are too long.
fn each_line<const N: usize>(path: &Path, mut take: impl FnMut([&str; N])) -> Result<()> {
    let mut file = BufReader::new(file_io::open_regular(path)?);
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        let read = file.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes);
        if read.map_err(Error::io("read", path))? == 0 {
            break;
        }
        let fields = std::str::from_utf8(&bytes).ok().filter(|line| line.ends_with('\n'));
        let fields: Option<Vec<&str>> = fields.map(|line| line.trim_end().split(' ').collect());
        let fields = fields.and_then(|fields| <[&str; N]>::try_from(fields).ok());
        take(fields.ok_or_else(|| Error::line(path, number, format!("does not have {N} fields")))?);
    }
    Ok(())
}

/// Scores in descending order, lowered if needed so that each is below the one before it.
fn strict_scores(scores: impl Iterator<Item = f32>) -> impl Iterator<Item = f32> {
    let mut ceiling = LARGEST_SCORE;
    scores.map(move |score| {
        let score = score.max(-LARGEST_SCORE).min(ceiling);
        ceiling = score.next_down();
        score
    })
}

/// An id as one field of a line.
fn field(id: &str) -> io::Result<String> {
    if id.is_empty() {
        return Err(io::Error::other("an id is empty, and TREC files cannot write that; give it a name"));
    }
    let mut out = String::with_capacity(id.len());
    for char in id.chars() {
        if char.is_whitespace() || char.is_control() || char == '%' {
            for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                write!(out, "%{byte:02X}").expect("invariant: a string takes every write");
            }
        } else {
            out.push(char);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranking::metrics::{gain, mrr_at, recall_at};
    use crate::retriever::{Hit, RankedList};
    use proptest::prelude::*;

    fn list(scores: &[f32]) -> RankedList {
        RankedList::new(scores.iter().enumerate().map(|(row, &score)| Hit { image: row.into(), score }))
    }

    fn named<'a>(list: &RankedList, names: &'a [impl AsRef<str>]) -> Vec<(&'a str, f32)> {
        list.hits().iter().map(|hit| (names[hit.image.row()].as_ref(), hit.score)).collect()
    }

    fn strict(list: &RankedList) -> Vec<f32> {
        strict_scores(list.hits().iter().map(|hit| hit.score)).collect()
    }

    #[test]
    fn files_have_the_lines_of_the_standard() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let names = ["a b.jpg", "c%\u{2003}.jpg"];
        let (first, second) = (list(&[0.5, 0.75]), list(&[]));
        let lists = [("q 1", named(&first, &names)), ("q2", named(&second, &names))];
        write_run(&path, "my run", lists).unwrap();
        let run = "q%201 Q0 c%25%E2%80%83.jpg 1 0.75 my%20run\nq%201 Q0 a%20b.jpg 2 0.5 my%20run\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), run);

        write_qrels(&path, [("q 1", names[0]), ("q2", names[1])]).unwrap();
        let qrels = "q%201 0 a%20b.jpg 1\nq2 0 c%25%E2%80%83.jpg 1\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), qrels);
        assert_eq!(read_qrels(&path).unwrap()[1], ("q2".into(), "c%25%E2%80%83.jpg".into()));
        assert!(write_qrels(&path, [("", "a")]).unwrap_err().to_string().contains("empty"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), qrels, "a refused write leaves the old file");
    }

    #[test]
    fn ranks_are_read_back_and_other_files_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let lists = [("a", vec![("x", 2.0), ("y", 1.0)]), ("b", vec![("x", 2.0)]), ("c", vec![("y", 2.0)])];
        write_run(&path, "t", lists).unwrap();
        let right = HashMap::from([("a", "y"), ("b", "y"), ("c", "y"), ("d", "x")]);
        assert_eq!(
            read_ranks(&path, &right).unwrap(),
            HashMap::from([("a".into(), 2), ("c".into(), 1)]),
            "a miss has no rank"
        );
        let error = read_qrels(&path).unwrap_err().to_string();
        assert!(error.contains("line 1: does not have 4 fields"), "{error}");
        for broken in [b"a 0 x 1\na 0 x".as_slice(), b"\xff 0 x 1\n", &[b'x'; 70_000]] {
            std::fs::write(&path, broken).unwrap();
            assert!(read_qrels(&path).is_err());
        }
    }

    #[test]
    fn equal_scores_descend_by_the_smallest_step() {
        assert_eq!(
            strict(&list(&[1.0, 1.0, 0.5, -0.0, 0.0])),
            [1.0, 1.0 - f32::EPSILON / 2.0, 0.5, 0.0, -1e-45]
        );
    }

    proptest! {
        #[test]
        fn readers_of_either_width_recover_the_order(
            raw in prop::collection::vec(
                prop_oneof![
                    any::<f32>(),
                    (-2i8..2).prop_map(f32::from),
                    prop::sample::select(vec![f32::INFINITY, f32::NEG_INFINITY, f32::MIN, f32::MAX]),
                ],
                0..40,
            ),
        ) {
            let ranked = list(&raw);
            let text: Vec<String> = strict(&ranked).into_iter().map(|s| format!("{:?}", f64::from(s))).collect();
            let narrow: Vec<f32> = text.iter().map(|s| s.parse().unwrap()).collect();
            let wide: Vec<f64> = text.iter().map(|s| s.parse().unwrap()).collect();
            prop_assert!(narrow.iter().all(|s| s.is_finite()) && narrow.windows(2).all(|w| w[0] > w[1]));
            prop_assert!(narrow.iter().zip(&wide).all(|(&n, &w)| n == w as f32 && f64::from(n) == w));
        }

        #[test]
        fn fields_hold_no_white_space_and_decode(id in "\\PC{0,8}[ %\t\n\u{85}\u{3000}]{1,3}\\PC{0,8}") {
            let encoded = field(&id).unwrap();
            prop_assert!(!encoded.contains(|c: char| c.is_whitespace() || c.is_control()));
            let mut bytes = Vec::new();
            let mut rest = encoded.as_bytes();
            while let Some((&byte, tail)) = rest.split_first() {
                let escaped = byte == b'%';
                let hex = || u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap();
                bytes.push(if escaped { hex() } else { byte });
                rest = if escaped { &tail[2..] } else { tail };
            }
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), id);
        }
    }

    /// Ten queries over twelve images with only four different scores, so that ties decide most ranks; the
    /// last list is empty. The expected numbers are those of ir_measures 0.4.3 on the files written here:
    ///
    /// ```python
    /// run, qrels = ir_measures.read_trec_run("x.run"), ir_measures.read_trec_qrels("x.qrels")
    /// ir_measures.calc_aggregate([R@1, R@5, R@10, RR@10, nDCG@10], qrels, run)
    /// ```
    #[test]
    fn metrics_agree_with_ir_measures_on_the_written_files() {
        let names: Vec<String> = (0..12).map(|row| format!("image {row}")).collect();
        let queries: Vec<String> = (0..10).map(|query| format!("q{query}")).collect();
        let scores = |query: usize| (0..12).map(|row| ((query * 5 + row * 7) % 4) as f32).collect::<Vec<_>>();
        let mut lists: Vec<RankedList> = (0..9).map(|query| list(&scores(query)).truncated(11)).collect();
        lists.push(list(&[]));
        let right: Vec<usize> = (0..10).map(|query| (query * 3 + 1) % 12).collect();

        let folder = tempfile::tempdir().unwrap();
        let (run, qrels) = (folder.path().join("x.run"), folder.path().join("x.qrels"));
        let listed = lists.iter().map(|list| named(list, &names));
        write_run(&run, "test", queries.iter().zip(listed)).unwrap();
        write_qrels(&qrels, queries.iter().zip(right.iter().map(|&row| &names[row]))).unwrap();

        let ranks: Vec<Option<usize>> =
            lists.iter().zip(&right).map(|(list, &row)| list.rank_of(row.into())).collect();
        assert_eq!([1, 5, 10].map(|k| recall_at(&ranks, k)), [0.3, 0.5, 0.9]);
        assert!((mrr_at(&ranks, 10) - 0.44722222222222224).abs() < 1e-12);
        let ndcg = ranks.iter().map(|&rank| gain(rank, 10)).sum::<f64>() / ranks.len() as f64;
        assert!((ndcg - 0.5494849252042335).abs() < 1e-12);
    }
}
