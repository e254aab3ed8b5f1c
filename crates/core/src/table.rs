//! The one table printer, for snapshots, reports and the command line.

use std::fmt;

/// An aligned table of text: the first column to the left, the others to the right.
///
/// ```
/// use tollgate_core::Table;
///
/// let mut table = Table::new(&["origin", "open"]);
/// table.push(["http://a".to_owned(), "12".to_owned()]);
/// assert_eq!(table.to_string(), "origin    open\nhttp://a    12");
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    longest: usize,
}

impl Table {
    /// Returns a table with these titles and no rows.
    pub fn new(head: &[&str]) -> Self {
        let head = head.iter().map(|cell| (*cell).to_owned()).collect();
        Self {
            rows: vec![head],
            longest: usize::MAX,
        }
    }

    /// Cuts cells of the first column to this many characters. Default: no limit.
    #[must_use]
    pub fn longest_name(mut self, characters: usize) -> Self {
        self.longest = characters;
        self
    }

    /// Adds a row, with a cell for each title.
    pub fn push(&mut self, row: impl Into<Vec<String>>) {
        let mut row = row.into();
        if let Some(name) = row.first_mut()
            && let Some((at, _)) = name.char_indices().nth(self.longest)
        {
            name.truncate(at);
            // The mark takes the place of the last character that fits.
            name.pop();
            name.push('…');
        }
        self.rows.push(row);
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        // In characters, as the padding of `fmt` counts: the mark of a cut name has three bytes.
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let widths: Vec<_> = (0..columns).map(|column| self.width(column)).collect();
        for (line, row) in self.rows.iter().enumerate() {
            if line > 0 {
                writeln!(f)?;
            }
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "{cell:width$}")?,
                    _ => write!(f, "  {cell:>width$}")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_long_names_cut() {
        let mut table = Table::new(&["origin", "open"]).longest_name(40);
        table.push(["a".to_owned(), "12".to_owned()]);
        table.push(["é".repeat(60), "3".to_owned()]);
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.iter().all(|line| line.chars().count() == 40 + 6),
            "{text}"
        );
        assert!(
            lines[2].contains('…') && lines[1].ends_with("  12"),
            "{text}"
        );
    }
}
