//! The rows as text.

use super::row::{Row, Target};
use std::fmt;

const HEADINGS: [&str; 8] =
    ["", "measured", "p95", "limit or peer, same run", "ratio", "target", "", "TypeScript runtime (2026-11, such a machine)"];

/// All that was measured.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<Row>);

impl Extend<Row> for Table {
    fn extend<I: IntoIterator<Item = Row>>(&mut self, rows: I) {
        self.0.extend(rows);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = std::iter::once(HEADINGS.map(str::to_owned)).chain(self.0.iter().map(cells)).collect();
        let widths: Vec<_> = (0..HEADINGS.len()).map(|column| width(&lines, column)).collect();
        for line in &lines {
            let padded: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(formatter, "{}", padded.join("  ").trim_end())?;
        }
        Ok(())
    }
}

fn width(lines: &[[String; HEADINGS.len()]], column: usize) -> usize {
    lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
}

fn cells(row: &Row) -> [String; HEADINGS.len()] {
    let met = row.is_met().map_or("", |met| if met { "met" } else { "missed" });
    [
        row.name.to_owned(),
        row.measured.to_string(),
        row.p95.map_or_else(String::new, |p95| p95.to_string()),
        row.peer.as_ref().map_or_else(String::new, |peer| format!("{} {}", peer.measured, peer.name)),
        row.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}x")),
        target(row.target),
        met.to_owned(),
        row.incumbent.unwrap_or_default().to_owned(),
    ]
}

fn target(target: Target) -> String {
    match target {
        Target::Free => String::new(),
        Target::AtMost(most) => format!("<= {most}"),
        Target::AtLeast(least) => format!(">= {least}"),
        Target::Times(times) => format!("<= {times}x"),
        Target::Share(share) => format!(">= {share}x"),
    }
}
