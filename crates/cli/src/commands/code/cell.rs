//! A cell as it is typed.

/// Lines that may not be a whole cell yet.
#[derive(Debug, Default)]
pub(super) struct Cell {
    code: String,
}

impl Cell {
    pub(super) fn prompt(&self) -> &'static str {
        if self.code.is_empty() { ">>> " } else { "... " }
    }

    /// Takes a line, and answers the cell where that is whole.
    pub(super) fn push(&mut self, line: &str) -> Option<String> {
        if line.trim().is_empty() {
            // A blank line ends what was open, and between cells it says nothing.
            return (!self.code.is_empty()).then(|| std::mem::take(&mut self.code));
        }
        let is_first = self.code.is_empty();
        self.code += line;
        self.code.push('\n');
        (is_first && !is_open(line)).then(|| std::mem::take(&mut self.code))
    }
}

/// Whether a line asks for more. It looks at the characters alone: a bracket in a string counts, and a blank line ends the cell all the same.
fn is_open(line: &str) -> bool {
    let depth = line.chars().fold(0, |depth, char| match char {
        '(' | '[' | '{' => depth + 1,
        ')' | ']' | '}' => depth - 1,
        _ => depth,
    });
    let quotes = ["\"\"\"", "'''"].iter().any(|quote| line.matches(quote).count() % 2 == 1);
    depth > 0 || quotes || line.trim_end().ends_with([':', '\\', ',']) || line.trim_start().starts_with('@')
}

#[cfg(test)]
mod tests {
    use super::Cell;

    #[test]
    fn a_cell_ends_with_its_line_or_with_a_blank_one() {
        for (lines, cells) in [
            (&["x = 1", "x"][..], &["x = 1\n", "x\n"][..]),
            (&["for i in x:", "    print(i)", "", "y"], &["for i in x:\n    print(i)\n", "y\n"]),
            (&["f(", "  1)", ""], &["f(\n  1)\n"]),
            (&["\"\"\"a", "b\"\"\"", ""], &["\"\"\"a\nb\"\"\"\n"]),
            (&["", "  ", "1"], &["1\n"]),
            (&["@decorated", "def f(): pass", ""], &["@decorated\ndef f(): pass\n"]),
        ] {
            let mut cell = Cell::default();
            let found: Vec<String> = lines.iter().filter_map(|line| cell.push(line)).collect();
            assert_eq!(found, cells, "{lines:?}");
        }
    }
}
