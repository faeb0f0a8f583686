//! The figures of the gates as a table for people.

use crate::docid::gates::{GateReport, RecallAt};
use crate::markdown_table::{Align, Table};

/// One row per level, then the figures of the whole index.
pub fn table(gates: &GateReport) -> String {
    let columns = ["level", "codes", "used", "perplexity", "cosine", "survival"];
    let mut table = Table::new(columns.map(|name| (name, Align::Right)));
    let share = |x: Option<f64>| x.map_or("–".to_owned(), |x| format!("{x:.3}"));
    for (number, level) in gates.levels.iter().enumerate() {
        let perplexity = format!("{:.1}", level.perplexity);
        let (codes, used) = (level.codes.to_string(), level.used.to_string());
        table.push([number.to_string(), codes, used, perplexity, share(level.cosine), share(level.survival)]);
    }
    let recalls = |of: &[RecallAt]| {
        of.iter().map(|r| format!("R@{} {:.1}%", r.k, 100.0 * r.recall)).collect::<Vec<_>>().join(", ")
    };
    let mut text = table.to_string();
    text += &format!("{} images", gates.images);
    if let Some(share) = gates.collisions {
        text += &format!(", {:.1}% share their codes with another", 100.0 * share);
    }
    if !gates.recall.is_empty() {
        text += &format!("\nsearch over all of them by reconstruction alone: {}", recalls(&gates.recall));
        text += &format!("; by aligned embeddings: {}", recalls(&gates.exact));
    }
    text
}
