//! Files and functions are small enough to be read.

use super::source::{braces, sources};

tests! {
    files_are_small,
    functions_are_short,
    functions_are_found,
}

/// Lines of a file, comments and tests included.
const LONGEST_FILE: usize = 400;

/// Lines of a function, from `fn` to the closing brace: of one half, and of nine tenths of all.
const MEDIAN: usize = 8;
const NINETY_PERCENT: usize = 22;

fn files_are_small() {
    for source in sources() {
        let lines = source.text.lines().count();
        assert!(lines <= LONGEST_FILE, "src/{} has {lines} lines; {LONGEST_FILE} are allowed", source.path);
    }
}

fn functions_are_short() {
    let mut lengths: Vec<usize> = sources().iter().flat_map(|source| functions(&source.code)).collect();
    lengths.sort_unstable();
    let [median, ninety] = [50, 90].map(|percent| lengths[lengths.len() * percent / 100]);
    assert!(median <= MEDIAN && ninety <= NINETY_PERCENT, "median {median}, 90% {ninety}");
}

/// The lengths of the functions of some code, in lines.
fn functions(code: &str) -> Vec<usize> {
    let starts = code.match_indices("fn ").map(|(at, _)| at);
    let starts = starts.filter(|at| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    starts.filter_map(|at| function(&code[at..])).map(|function| function.lines().count()).collect()
}

/// The function that some code begins with; `None` for a signature without a body.
fn function(code: &str) -> Option<&str> {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' if depth == 0 => return None,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(&code[..at + braces(&code[at..])]),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn functions_are_found() {
    let code = "trait A {\n    fn a(&self, f: fn(u8) -> [u8; 3]);\n}\nfn b() {}\nfn c(x: [u8; 3])\nwhere\n    A: B,\n{\n    x\n}\n";
    assert_eq!(functions(code), [1, 6]);
}
