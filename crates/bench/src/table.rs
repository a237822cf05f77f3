//! The rows as text.

use crate::row::{Row, Target};
use comfy_table::{Table, presets::NOTHING};

const HEADINGS: [&str; 8] =
    ["", "measured", "p95", "limit or peer, same run", "ratio", "target", "", "TypeScript runtime (2026-11, such a machine)"];

/// Aligns the rows in columns below their headings.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(HEADINGS).add_rows(rows.iter().map(cells));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn cells(row: &Row) -> [String; HEADINGS.len()] {
    let met = row.is_met().map_or("", |met| if met { "met" } else { "missed" });
    [
        row.name.to_owned(),
        row.measured.to_string(),
        row.p95.map_or_else(String::new, |p95| p95.to_string()),
        row.baseline.as_ref().map_or_else(String::new, |baseline| format!("{} {}", baseline.measured, baseline.name)),
        row.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}x")),
        row.target.map_or_else(String::new, target),
        met.to_owned(),
        row.incumbent.unwrap_or_default().to_owned(),
    ]
}

fn target(target: Target) -> String {
    match target {
        Target::Maximum(most) => format!("<= {most}"),
        Target::Minimum(least) => format!(">= {least}"),
        Target::MaximumRatio(times) => format!("<= {times}x"),
        Target::MinimumRatio(times) => format!(">= {times}x"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Quantity;

    #[test]
    fn rows_show_their_values_and_verdicts_below_the_headings() {
        let row = Row::new("exec", Quantity::microseconds(150)).baseline("bare", Quantity::microseconds(100));
        let missed = row.target(Target::MaximumRatio(1.4)).incumbent("2 ms");
        let text = render(&[missed, Row::new("  memory", Quantity::mebibytes(4)).at_most(Quantity::mebibytes(8))]);
        let lines: Vec<_> = text.lines().collect();
        let words: Vec<_> = lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(words[1..], ["exec 150 µs 100 µs bare 1.50x <= 1.4x missed 2 ms", "memory 4.0 MiB <= 8.0 MiB met"], "{text}");
        let column = |line: usize, word: &str| lines[line].find(word).unwrap();
        assert_eq!([column(0, "measured"), column(1, "150"), column(2, "4.0")], [column(0, "measured"); 3], "{text}");
        assert_eq!(column(2, "memory"), column(1, "exec") + 2, "{text}");
    }
}
