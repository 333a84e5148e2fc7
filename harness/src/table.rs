//! Tables as text, for the terminal and for snapshots.

/// A table whose columns are as wide as their widest cell. The first column is aligned left, and so
/// are those named so; the others right.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    left: &'static [usize],
}

impl Table {
    /// A table with this head; the columns of `left` are aligned left, beside the first.
    #[must_use]
    pub fn new(head: &[&str], left: &'static [usize]) -> Self {
        Self { rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()], left }
    }

    /// One more row; it may have fewer cells than the head, or more.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text, each row ended by a newline.
    #[must_use]
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, &width))| {
                if column == 0 || self.left.contains(&column) {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A number with its thousands marked.
pub fn grouped(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().map_or_else(|_| "too many".to_owned(), |n: u64| n.to_string());
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 && digit.is_ascii_digit() {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Table, grouped};

    #[test]
    fn thousands_are_marked() {
        let texts = [0_u64, 7, 999, 1_000, 12_345, 1_000_000].map(grouped);
        assert_eq!(texts, ["0", "7", "999", "1,000", "12,345", "1,000,000"]);
    }

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let mut table = Table::new(&["slice", "states", "verdict"], &[2]);
        table.row(vec!["one-member".into(), "7".into(), "holds".into()]);
        let expected = "slice       states  verdict\none-member       7  holds\n";
        assert_eq!(table.text(), expected);
    }
}
