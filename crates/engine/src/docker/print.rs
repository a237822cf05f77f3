//! Output of the commands.

use anyhow::Result;
use serde_json::Value;

use super::arguments::{Format, List};

mod template;

/// Prints one value in its format, or as JSON.
pub(super) fn print(value: &Value, format: &Format) -> Result<()> {
    match format.format.as_deref() {
        None => println!("{value:#}"),
        Some("json") => println!("{value}"),
        Some(format) => println!("{}", template::render(format, value)?),
    }
    Ok(())
}

/// One line of a list: in its format, only the id, or the columns.
pub(super) fn row(row: &Value, columns: &[&str], list: &List) -> Result<String> {
    if list.quiet {
        return Ok(row["ID"].as_str().unwrap_or_default().to_owned());
    }
    if let Some(format) = &list.format.format {
        return template::render(format, row);
    }
    let cells = columns.iter().map(|column| row[column].as_str().unwrap_or_default());
    Ok(cells.collect::<Vec<_>>().join("\t"))
}
