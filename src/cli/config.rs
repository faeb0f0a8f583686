//! `dsi config`: the reference of all configuration keys.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::print_stdout;
use crate::config::reference;

/// Print what every configuration key is: its type, its default, the values it takes and what it affects.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi config
  dsi config --section train
  dsi config --explain train.margin
  dsi config --section search --json

--json prints a list of sections, each with its keys; one section with --section, one key with --explain.")]
pub struct Config {
    /// Only the keys of this section.
    #[arg(long, value_name = "SECTION", conflicts_with = "explain")]
    section: Option<String>,
    /// Only this key.
    #[arg(long, value_name = "SECTION.KEY")]
    explain: Option<String>,
    /// Print the reference as JSON.
    #[arg(long)]
    json: bool,
    /// Print the reference as the chapter of the guide.
    #[arg(long, hide = true, conflicts_with_all = ["section", "explain", "json"])]
    markdown: bool,
}

impl Config {
    pub fn run(self) -> Result<()> {
        match (&self.section, &self.explain) {
            _ if self.markdown => print_stdout(reference::markdown()),
            (Some(name), _) => self.print(reference::section(name)?, reference::SectionReference::text),
            (None, Some(name)) => self.print(reference::key(name)?, reference::KeyReference::explained),
            (None, None) => self.print(reference::all(), reference::text),
        }
    }

    fn print<T: Serialize + ?Sized>(&self, entry: &T, text: impl Fn(&T) -> String) -> Result<()> {
        print_stdout(if self.json { serde_json::to_string_pretty(entry)? + "\n" } else { text(entry) })
    }
}
