//! Fits a table into a width: the most important columns are kept, then intervals and standard deviations;
//! long words are cut in their middle.
//!
//! A column that only tells rows from each other, the data set for example, comes last when its words are all equal.

use console::measure_text_width;

use super::{Column, Table, markdown};

/// What is kept of a column.
#[derive(Debug, Clone, Copy)]
struct Kept {
    interval: bool,
    /// The width to which its words are cut.
    most: usize,
}

/// What may be kept: a column (by its place), or the intervals in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Column(usize),
    Interval(usize),
}

/// The widths of a column's longest text, with intervals and without.
struct Widths {
    full: usize,
    brief: usize,
}

/// The table in lines of at most `width` characters, and what was left out. The most important column is kept
/// in any case.
pub fn fitted(table: &Table, width: usize) -> (Table, Vec<String>) {
    let widths: Vec<Widths> = (0..table.columns.len()).map(|place| widths(table, place)).collect();
    let parts = parts(table);
    let mut kept: Vec<Option<Kept>> = vec![None; widths.len()];
    for (number, part) in parts.iter().enumerate() {
        let before = kept.clone();
        part.add(&table.columns, &mut kept);
        if number > 0 && total(&kept, &widths) > width {
            kept = before;
        }
    }
    widen(&parts, &mut kept, &widths, width);
    let left_out = parts.iter().filter_map(|part| part.left_out(&table.columns, &kept)).collect();
    (cut(table, &kept), left_out)
}

impl Part {
    fn add(self, columns: &[Column], kept: &mut [Option<Kept>]) {
        match self {
            Self::Column(place) => {
                let column = &columns[place];
                kept[place] = Some(Kept { interval: column.interval_kept.is_none(), most: column.narrowest });
            }
            Self::Interval(place) => {
                kept[place] = kept[place].map(|kept| Kept { interval: true, ..kept });
            }
        }
    }

    /// Its name, if it is not kept. The intervals of a column that is left out are not named.
    fn left_out(self, columns: &[Column], kept: &[Option<Kept>]) -> Option<String> {
        match self {
            Self::Column(place) => kept[place].is_none().then(|| columns[place].name.clone()),
            Self::Interval(place) => {
                let without = kept[place].is_some_and(|kept| !kept.interval);
                without.then(|| format!("the interval of {}", columns[place].name))
            }
        }
    }
}

/// All parts, the most important first.
fn parts(table: &Table) -> Vec<Part> {
    let mut parts: Vec<(bool, usize, Part)> = Vec::new();
    for (place, column) in table.columns.iter().enumerate() {
        let kept = column.kept.unwrap_or(place);
        parts.push((column.tells_apart && is_constant(table, place), kept, Part::Column(place)));
        parts.extend(column.interval_kept.map(|kept| (false, kept, Part::Interval(place))));
    }
    parts.sort_by_key(|(constant, kept, _)| (*constant, *kept));
    parts.into_iter().map(|(.., part)| part).collect()
}

/// Whether a column has the same word in several rows.
fn is_constant(table: &Table, place: usize) -> bool {
    let mut cells = table.rows.iter().map(|row| &row[place]);
    let first = cells.next();
    table.rows.len() > 1 && cells.all(|cell| Some(cell) == first)
}

fn widths(table: &Table, place: usize) -> Widths {
    let longest = |text: fn(&str) -> &str| {
        table.lines().map(|line| measure_text_width(&markdown(text(line[place])))).max().unwrap_or(0).max(3)
    };
    Widths { full: longest(|text| text), brief: longest(brief) }
}

/// A cell or title without interval and standard deviation.
fn brief(text: &str) -> &str {
    [" [", " ± "]
        .iter()
        .filter_map(|mark| text.split_once(*mark))
        .map(|(start, _)| start)
        .next()
        .unwrap_or(text)
}

/// The width of a line.
fn total(kept: &[Option<Kept>], widths: &[Widths]) -> usize {
    let cells = kept.iter().zip(widths).filter_map(|(kept, widths)| Some(kept.as_ref()?.width(widths) + 3));
    1 + cells.sum::<usize>()
}

impl Kept {
    fn width(&self, widths: &Widths) -> usize {
        self.natural(widths).min(self.most)
    }

    fn natural(&self, widths: &Widths) -> usize {
        if self.interval { widths.full } else { widths.brief }
    }
}

/// Gives the rest of the width to cut words, the most important first. A first column that alone is too wide
/// is cut further.
fn widen(parts: &[Part], kept: &mut [Option<Kept>], widths: &[Widths], width: usize) {
    for part in parts {
        let Part::Column(place) = *part else { continue };
        let line = total(kept, widths);
        let Some(kept) = &mut kept[place] else { continue };
        let own = kept.width(&widths[place]);
        kept.most = (own + width).saturating_sub(line).max(3).min(kept.natural(&widths[place]));
    }
}

/// The kept columns with their words cut.
fn cut(table: &Table, kept: &[Option<Kept>]) -> Table {
    let places: Vec<usize> = (0..kept.len()).filter(|&place| kept[place].is_some()).collect();
    let mut table = table.with_columns(&places);
    let kept: Vec<Kept> = kept.iter().copied().flatten().collect();
    for (column, kept) in table.columns.iter_mut().zip(&kept) {
        column.title = kept.text(&column.title);
    }
    for row in &mut table.rows {
        row.iter_mut().zip(&kept).for_each(|(cell, kept)| *cell = kept.text(cell));
    }
    table
}

impl Kept {
    fn text(&self, text: &str) -> String {
        let text = if self.interval { text } else { brief(text) };
        if measure_text_width(&markdown(text)) <= self.most {
            return text.to_owned();
        }
        // Half of the room goes to the start; the end of a path tells more than its middle.
        let room = self.most.saturating_sub(1);
        let start = taken(text.chars(), room.div_ceil(2));
        let end = taken(text.chars().rev(), room - room.div_ceil(2));
        start.into_iter().chain(['…']).chain(end.into_iter().rev()).collect()
    }
}

/// The first characters that a table shows in this width.
fn taken(chars: impl Iterator<Item = char>, mut room: usize) -> Vec<char> {
    let mut taken = Vec::new();
    for c in chars {
        let width = measure_text_width(&markdown(c.encode_utf8(&mut [0; 4])));
        let Some(rest) = room.checked_sub(width) else { break };
        room = rest;
        taken.push(c);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(rows: &[[&str; 4]]) -> Table {
        let mut table = Table::new([
            Column::words("image").kept(0).narrowest(8),
            Column::words("regime").kept(1).tells_apart(),
            Column::numbers("R@1").titled("R@1 [CI]").kept(2).interval_kept(4),
            Column::numbers("R@10").kept(3),
        ]);
        rows.iter().for_each(|row| table.push(row));
        table
    }

    #[test]
    fn the_least_important_goes_first() {
        let table =
            table(&[["a.png", "same", "50.0 [1, 2]", "60.0"], ["b.png", "same", "5.0 [1, 2]", "60.0"]]);
        let fitted = |width: usize| {
            let (table, left_out) = table.fitted(width);
            (table.to_string().lines().next().unwrap().to_owned(), left_out.join(", "))
        };
        assert_eq!(fitted(39), ("| image | regime |    R@1 [CI] | R@10 |".into(), String::new()));
        assert_eq!(fitted(38), ("| image |    R@1 [CI] | R@10 |".into(), "regime".into()));
        assert_eq!(fitted(29), ("| image |  R@1 | R@10 |".into(), "the interval of R@1, regime".into()));
        assert_eq!(fitted(22), ("| image |  R@1 |".into(), "R@10, the interval of R@1, regime".into()));
        assert_eq!(fitted(5).0, "| i…e |");
    }

    #[test]
    fn long_words_are_cut_in_the_middle() {
        let table = table(&[["a/very/long/path.png", "x", "1", "2"], ["立方体立方体立方体", "y", "1", "2"]]);
        let text = table.fitted(40).0.to_string();
        assert!(text.contains("| a/ve….png |") && text.contains("| 立方…方体 |"), "{text}");
    }

    proptest! {
        #[test]
        fn lines_are_as_long_as_allowed(
            names in prop::collection::vec("[a-z|立\u{1b}]{0,40}", 1..5), width in 7usize..90,
        ) {
            let rows: Vec<[&str; 4]> = names.iter().map(|name| [name, "x", "12.0 [1.0, 2.0]", "3"]).collect();
            let (fitted, _) = table(&rows).fitted(width);
            for line in fitted.to_string().lines() {
                prop_assert!(measure_text_width(line) <= width, "{line}");
            }
        }
    }
}
