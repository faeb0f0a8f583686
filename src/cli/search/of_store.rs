//! A search of the store of a run: it opens nothing else but the encoder.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Search, duplicates, explain, print};
use crate::cli::print_stdout;
use crate::config::{Config, override_key};
use crate::data::npy;
use crate::file_io;
use crate::output;
use crate::searcher::name_pattern::NamePattern;
use crate::searcher::{Hit, Page, Query, Searcher};

/// The keys that a store can be searched with.
pub const KEYS: [&str; 6] =
    ["encoder.path", "search.k", "search.beam", "search.probes", "search.rerank", "search.rerank_weight"];
/// Queries of `--queries` that are answered at once.
const BATCH: usize = 256;
/// Bytes of `--queries` that are read at once.
const READ_AT_ONCE: usize = 1 << 16;
/// Bytes of a line of `--queries` at most.
const LONGEST_LINE: u64 = 1 << 20;

/// Whether a store can be searched with these overrides.
pub fn takes(set: &[String]) -> bool {
    set.iter().all(|set| KEYS.contains(&override_key(set)))
}

/// Answers the query or the queries of the arguments.
pub fn search(args: &Search) -> Result<()> {
    let searcher = Searcher::open(&args.run)?;
    let overrides = args.overrides();
    let searcher = overridden(searcher, &overrides)?;
    let k = searcher.defaults().k;
    let pattern = args.only.as_deref().map(NamePattern::new);
    let page = Page { k, skip: args.skip, pattern };
    if let Some(path) = &args.queries {
        return answer_lines(&searcher, path, &page);
    }
    if let Some(cosine) = args.duplicates {
        return duplicates::print(&searcher, cosine, args);
    }
    let queries = queries(args)?;
    if let Some(name) = &args.explain {
        let [query] = &queries[..] else {
            bail!("--explain takes one query, and the file has {}", queries.len())
        };
        return explain::print(&searcher.explain(query, name)?, args);
    }
    let lists = searcher.pages(&queries, &page)?;
    if let [hits] = &lists[..] {
        say_if_short(hits.len(), &page, &searcher);
        return if args.json { print::json(hits) } else { print::table(hits, &args.tables) };
    }
    lists.iter().enumerate().try_for_each(|(number, hits)| print_line(&json!(number), hits))
}

/// The searcher with the defaults that these overrides set.
fn overridden(searcher: Searcher, overrides: &[String]) -> Result<Searcher> {
    let config = Config::parse("", Path::new("--set"), overrides)?;
    let moved = overrides.iter().any(|set| override_key(set) == "encoder.path");
    let searcher = if moved { searcher.with_encoder_in(&config.encoder.path) } else { searcher };
    let config = config.search;
    let mut defaults = searcher.defaults().clone();
    for set in overrides {
        match override_key(set) {
            "search.k" => defaults.k = config.k,
            "search.beam" => defaults.candidates = config.beam,
            "search.probes" => defaults.probes = config.probes,
            "search.rerank_weight" => defaults.rerank_weight = config.rerank_weight as f32,
            "search.rerank" => defaults.rerank = config.rerank,
            _ => {}
        }
    }
    Ok(searcher.with_defaults(defaults))
}

/// The queries of the arguments: one, or one for each row of `--vector`.
fn queries(args: &Search) -> Result<Vec<Query>> {
    let first = match (&args.caption, &args.image, &args.vector, &args.like) {
        (Some(caption), ..) => vec![Query::text(caption)],
        (_, Some(image), ..) => vec![Query::image_path(image)],
        (_, _, Some(vector), _) => npy::read(vector)?.iter().map(Query::vector).collect(),
        (_, _, _, Some(name)) => vec![Query::like(name)],
        _ => bail!(
            "nothing to search for: give a caption, --image FILE, --vector FILE, --like NAME or --queries FILE"
        ),
    };
    let combined = |query: Query| {
        let with = args.and.iter().fold(query, |query, text| query.and(Query::text(text)));
        args.not.iter().fold(with, |query, text| query.not(Query::text(text)))
    };
    Ok(first.into_iter().map(combined).collect())
}

fn say_if_short(hits: usize, page: &Page, searcher: &Searcher) {
    if hits >= page.k {
        return;
    }
    let why = if page.pattern.is_some() {
        "no others have such a name"
    } else if hits + page.skip >= searcher.images() {
        "there are no more"
    } else {
        "no others were found; visit more of them with --set search.probes=0"
    };
    output::message(format!("the list has {hits} images, not {}: {why}", page.k));
}

/// A line of `--queries`: what is searched for, and the name of the query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    id: Value,
    text: Option<String>,
    image: Option<String>,
    vector: Option<Vec<f32>>,
    like: Option<String>,
}

/// A query of `--queries`: its line, the name of the answer, and what is searched for.
type NumberedQuery = (usize, Value, Query);

/// Answers queries line by line, batch by batch: as many at once as there are to be read.
fn answer_lines(searcher: &Searcher, path: &Path, page: &Page) -> Result<()> {
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(file_io::open_regular(path)?)
    };
    let mut lines = BufReader::with_capacity(READ_AT_ONCE, input);
    let mut number = 0;
    loop {
        let mut batch: Vec<NumberedQuery> = Vec::new();
        while batch.len() < BATCH && (batch.is_empty() || lines.buffer().contains(&b'\n')) {
            number += 1;
            match read_line(&mut lines, number).with_context(|| at(path, number))? {
                Some(Some(query)) => batch.push(query),
                Some(None) => {}
                None if batch.is_empty() => return Ok(()),
                None => break,
            }
        }
        answer(searcher, path, page, &batch)?;
    }
}

fn at(path: &Path, number: usize) -> String {
    format!("{}, line {number}", path.display())
}

/// The query of the next line; inside, `None` for a blank line; outside, at the end.
fn read_line(lines: &mut impl BufRead, number: usize) -> Result<Option<Option<NumberedQuery>>> {
    let mut line = String::new();
    if lines.take(LONGEST_LINE + 1).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 > LONGEST_LINE {
        bail!("is longer than the {LONGEST_LINE} bytes allowed here");
    }
    let line = line.trim();
    if line.is_empty() {
        return Ok(Some(None));
    }
    let (id, query) = parse(line, number)?;
    Ok(Some(Some((number, id, query))))
}

/// Prints the answers of a batch. If a query fails, those before it are printed, and the error names its line.
fn answer(searcher: &Searcher, path: &Path, page: &Page, batch: &[NumberedQuery]) -> Result<()> {
    let queries: Vec<Query> = batch.iter().map(|(_, _, query)| query.clone()).collect();
    if let Ok(lists) = searcher.pages(&queries, page) {
        return batch.iter().zip(lists).try_for_each(|((_, id, _), hits)| print_line(id, &hits));
    }
    for (number, id, query) in batch {
        let lists = searcher.pages(std::slice::from_ref(query), page).with_context(|| at(path, *number))?;
        lists.iter().try_for_each(|hits| print_line(id, hits))?;
    }
    Ok(())
}

/// A caption, or an object.
fn parse(line: &str, number: usize) -> Result<(Value, Query)> {
    if !line.starts_with('{') {
        let text = serde_json::from_str::<String>(line).unwrap_or_else(|_| line.to_owned());
        return Ok((json!(number), Query::text(text)));
    }
    let Line { id, text, image, vector, like } = serde_json::from_str(line)?;
    let parts = [
        text.map(Query::text),
        image.map(Query::image_path),
        vector.map(Query::vector),
        like.map(Query::like),
    ];
    let query = parts.into_iter().flatten().reduce(Query::and);
    let query = query.context("names nothing to search for: text, image, vector or like")?;
    Ok((if id.is_null() { json!(number) } else { id }, query))
}

fn print_line(id: &Value, hits: &[Hit]) -> Result<()> {
    print_stdout(json!({ "query": id, "hits": print::values(hits) }).to_string() + "\n")
}
