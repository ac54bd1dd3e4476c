//! Aligned tables that fit their reader's terminal.
//!
//! Where a table is too wide, its last column is cut, as long as enough of it stays; then the least important
//! columns go. Nothing is cut when the reader is a file or a pipe.

use super::print::{Look, Style};

/// Spaces between two columns.
pub(crate) const GAP: usize = 2;
/// What [`Table::last_width`] is where nobody says.
const LAST_WIDTH: usize = 24;

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its heading.
    pub(crate) title: &'static str,
    /// Columns with a low weight are left out first on a narrow terminal; 0: never.
    pub(crate) weight: u8,
}

impl Column {
    /// A column that is always shown.
    pub(crate) const fn text(title: &'static str) -> Self {
        Self { title, weight: 0 }
    }

    /// May be left out where there is no room; a lower weight goes first.
    pub(crate) const fn weight(mut self, weight: u8) -> Self {
        self.weight = weight;
        self
    }
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// What stands in it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What that means.
    pub(crate) fn style(&self) -> Style {
        self.style
    }

    /// A cell with a meaning.
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: Style::Plain }
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    last_width: usize,
}

/// What of a table fits a width, for somebody else to draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fitted {
    /// Of each column that is shown.
    pub(crate) widths: Vec<usize>,
    /// The headings, then the rows; each with a cell for each width.
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new(), last_width: LAST_WIDTH }
    }

    /// So much of the last column is worth more than another column.
    pub(crate) const fn last_width(mut self, width: usize) -> Self {
        self.last_width = width;
        self
    }

    /// Adds a row; cells that are missing at its end are empty.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    fn widths(&self) -> Vec<usize> {
        (0..self.columns.len()).map(|index| self.width_of(index)).collect()
    }

    fn headings(&self) -> Vec<Cell> {
        self.columns.iter().map(|column| Cell::styled(column.title, Style::Heading)).collect()
    }

    /// The columns that `width` has room for, the last one cut to what the others leave.
    pub(crate) fn fitted(&self, width: usize) -> Fitted {
        let of_all = self.widths();
        let shown = self.shown(&of_all, Some(width));
        let mut widths = Vec::new();
        let mut room = width;
        for column in of_all.iter().zip(&shown).filter_map(|(width, shown)| shown.then_some(*width)) {
            widths.push(column.min(room));
            room = room.saturating_sub(column + GAP);
        }
        let empty = Cell::default();
        let kept = |row: &Vec<Cell>| {
            let cells = (0..).zip(&shown).filter(|(_, shown)| **shown);
            let cells = cells.map(|(index, _)| row.get(index).unwrap_or(&empty));
            cells.zip(&widths).map(|(cell, room)| Cell::styled(cut(&cell.text, *room), cell.style)).collect()
        };
        let rows = std::iter::once(&self.headings()).chain(&self.rows).map(kept).collect();
        Fitted { widths, rows }
    }

    /// The table as text: a line of headings, then a line for each row.
    pub(crate) fn render(&self, look: Look) -> String {
        let widths = self.widths();
        let shown = self.shown(&widths, look.width);
        let mut text = String::new();
        let headings = self.headings();
        for row in std::iter::once(&headings).chain(&self.rows) {
            write_row(&mut text, row, &widths, &shown, look);
        }
        text
    }

    /// The widest text of a column. A column of empty texts has no width and is not shown.
    fn width_of(&self, index: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(index));
        let widest = cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0);
        if widest == 0 && !self.rows.is_empty() {
            return 0;
        }
        widest.max(self.columns.get(index).map_or(0, |column| column.title.chars().count()))
    }

    /// Which columns there is room for.
    fn shown(&self, widths: &[usize], limit: Option<usize>) -> Vec<bool> {
        let mut shown: Vec<bool> = widths.iter().map(|width| *width > 0).collect();
        let Some(limit) = limit else { return shown };
        loop {
            let mut kept: Vec<usize> =
                widths.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(width, _)| *width).collect();
            if let Some(last) = kept.last_mut() {
                *last = self.last_width.min(*last);
            }
            if kept.iter().map(|width| width + GAP).sum::<usize>() <= limit + GAP {
                return shown;
            }
            let lightest = self
                .columns
                .iter()
                .enumerate()
                .filter(|(index, column)| column.weight > 0 && shown.get(*index) == Some(&true))
                .min_by_key(|(_, column)| column.weight);
            match lightest.and_then(|(index, _)| shown.get_mut(index)) {
                Some(shown) => *shown = false,
                None => return shown,
            }
        }
    }
}

fn write_row(out: &mut String, row: &[Cell], widths: &[usize], shown: &[bool], look: Look) {
    let mut used = 0;
    let mut owed = 0;
    let empty = Cell::default();
    for (index, width) in widths.iter().enumerate() {
        if shown.get(index) != Some(&true) {
            continue;
        }
        let cell = row.get(index).unwrap_or(&empty);
        let room = look.width.map_or(usize::MAX, |limit| limit.saturating_sub(used));
        if room == 0 {
            break;
        }
        let text = cut(&cell.text, room.min(*width));
        let length = text.chars().count();
        let pad = room.min(*width).saturating_sub(length);
        if length > 0 {
            out.push_str(&" ".repeat(owed));
            out.push_str(&cell.style.paint(&text, look.color));
            owed = pad + GAP;
        } else {
            owed += width + GAP;
        }
        used += width + GAP;
    }
    out.push('\n');
}

/// `text` in at most `room` columns, its end marked where it was cut.
pub(crate) fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let Some(kept) = room.checked_sub(1) else { return String::new() };
    text.chars().take(kept).chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(vec![
            Column::text("APP"),
            Column::text("READY"),
            Column::text("UPTIME").weight(1),
            Column::text("LISTEN").weight(2),
        ]);
        table.row(vec!["api".into(), "4/4".into(), "3d".into(), "[::]:3000".into()]);
        table.row(vec!["longer-name".into(), "10/12".into(), "1h".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_their_end() {
        let expected = "\
APP          READY  UPTIME  LISTEN
api          4/4    3d      [::]:3000
longer-name  10/12  1h
";
        assert_eq!(sample().render(Look::PLAIN), expected);
    }

    #[test]
    fn the_lightest_column_goes_first_where_there_is_no_room() {
        let narrow = sample().render(Look { color: false, width: Some(30) });
        assert_eq!(narrow.lines().next(), Some("APP          READY  LISTEN"));
        let narrower = sample().render(Look { color: false, width: Some(20) });
        assert_eq!(narrower.lines().next(), Some("APP          READY"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 1..60 {
            let text = sample().render(Look { color: false, width: Some(width) });
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        }
    }

    #[test]
    fn a_column_without_any_text_is_not_shown() {
        let mut table = Table::new(vec![Column::text("APP"), Column::text("NOTE")]);
        table.row(vec!["api".into(), "".into()]);
        assert_eq!(table.render(Look::PLAIN), "APP\napi\n");
    }
}
