//! ratatui's drawing as the escape sequences of ECMA-48, which every terminal of today knows: where a cell is, how
//! it looks, and nothing else. Modes, the alternate screen and the way back are [`super::screen`]'s.

use std::io::{self, Write};

use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::Cell;
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier};

use super::charset::cell_in_ascii;

/// A larger terminal is drawn on up to here: two buffers of this size are kept.
const MAX_SIZE: (usize, usize) = (500, 250);
/// Of a terminal that does not tell its own.
const DEFAULT_SIZE: (usize, usize) = (80, 24);

/// A terminal on standard output.
#[derive(Debug)]
pub(crate) struct Ansi {
    color: bool,
    utf8: bool,
    /// Written as one piece, so that no terminal shows half a screen.
    text: String,
}

impl Ansi {
    /// Without `color` no cell looks different from another, without `utf8` all are ASCII.
    pub(crate) const fn new(color: bool, utf8: bool) -> Self {
        Self { color, utf8, text: String::new() }
    }
}

/// How a cell looks, as the parameters of one sequence (SGR).
fn look_of(cell: &Cell) -> String {
    let mut look = String::from("0");
    let modifiers = [(Modifier::BOLD, ";1"), (Modifier::DIM, ";2"), (Modifier::REVERSED, ";7")];
    modifiers
        .iter()
        .filter(|(modifier, _)| cell.modifier.contains(*modifier))
        .for_each(|(_, code)| look.push_str(code));
    look.push_str(code_of(cell.fg));
    look
}

/// The colours that everybody's terminal has, as its owner set them; a view has no others.
const fn code_of(color: Color) -> &'static str {
    match color {
        Color::Black => ";30",
        Color::Red | Color::LightRed => ";31",
        Color::Green | Color::LightGreen => ";32",
        Color::Yellow | Color::LightYellow => ";33",
        Color::Blue | Color::LightBlue => ";34",
        Color::Magenta | Color::LightMagenta => ";35",
        Color::Cyan | Color::LightCyan => ";36",
        Color::Reset | Color::Gray | Color::DarkGray | Color::White | Color::Rgb(..) | Color::Indexed(_) => {
            ""
        }
    }
}

impl Backend for Ansi {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        let (mut next, mut look) = (None, String::from("0"));
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                self.text.push_str(&format!("\x1b[{};{}H", u32::from(y) + 1, u32::from(x) + 1));
            }
            // Behind a wide character the next cell is not the next column: the cursor is set anew.
            next = x.checked_add(1).map(|x| (x, y));
            let wanted = if self.color { look_of(cell) } else { String::from("0") };
            if wanted != look {
                self.text.push_str(&format!("\x1b[{wanted}m"));
                look = wanted;
            }
            if self.utf8 {
                self.text.push_str(cell.symbol());
            } else {
                self.text.push_str(&cell_in_ascii(cell.symbol()));
            }
        }
        if look != "0" {
            self.text.push_str("\x1b[0m");
        }
        Ok(())
    }

    /// It is hidden for as long as the terminal is ours.
    fn hide_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The way back shows it.
    fn show_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Nobody asks where a hidden cursor is.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, _: P) -> io::Result<()> {
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.text.push_str("\x1b[H\x1b[2J");
        Ok(())
    }

    /// Always all of it: the terminal is ours as a whole.
    fn clear_region(&mut self, _: ClearType) -> io::Result<()> {
        self.clear()
    }

    fn size(&self) -> io::Result<Size> {
        let (width, height) = crate::os::terminal::size().unwrap_or(DEFAULT_SIZE);
        let within = |size: usize, most: usize| u16::try_from(size.min(most)).unwrap_or(u16::MAX);
        Ok(Size::new(within(width, MAX_SIZE.0), within(height, MAX_SIZE.1)))
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    /// A terminal that is gone is told by the end of its input.
    fn flush(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let _ = out.write_all(self.text.as_bytes()).and_then(|()| out.flush());
        self.text.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ratatui_core::buffer::Buffer;
    use ratatui_core::layout::Rect;
    use ratatui_core::style::Style;

    use super::*;

    fn drawn(color: bool) -> String {
        drawn_with(Ansi::new(color, true))
    }

    fn drawn_with(mut ansi: Ansi) -> String {
        let before = Buffer::empty(Rect::new(0, 0, 10, 2));
        let mut now = before.clone();
        now.set_string(1, 0, "ok", Style::new().fg(Color::Green).add_modifier(Modifier::BOLD));
        now.set_string(3, 0, "漢x", Style::new());
        now.set_string(0, 1, "z", Style::new().add_modifier(Modifier::REVERSED));
        ansi.draw(before.diff(&now).into_iter()).unwrap();
        ansi.text
    }

    #[test]
    fn cells_are_placed_and_their_looks_end_with_them() {
        assert_eq!(drawn(true), "\x1b[1;2H\x1b[0;1;32mok\x1b[0m漢\x1b[1;6Hx\x1b[2;1H\x1b[0;7mz\x1b[0m");
    }

    #[test]
    fn where_ascii_is_all_that_is_known_a_sign_of_others_is_a_question_mark() {
        assert_eq!(drawn_with(Ansi::new(false, false)), "\x1b[1;2Hok?\x1b[1;6Hx\x1b[2;1Hz");
    }

    #[test]
    fn without_colour_nothing_but_places_and_text_is_written() {
        assert_eq!(drawn(false), "\x1b[1;2Hok漢\x1b[1;6Hx\x1b[2;1Hz");
    }
}
