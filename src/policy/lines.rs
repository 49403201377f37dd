//! Line breaks as in YAML 1.2, section 5.4: a line feed, a carriage return, or the two together.

/// Whether a character ends a line, alone or in a CRLF pair.
pub(crate) const fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

/// The lines of a text, each with its break. No empty line follows the last break.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> + Clone {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = match rest.bytes().position(|byte| matches!(byte, b'\n' | b'\r')) {
            Some(at) if rest.get(at..).is_some_and(|rest| rest.starts_with("\r\n")) => at + 2,
            Some(at) => at + 1,
            None => rest.len(),
        };
        let (line, behind) = rest.split_at_checked(end)?;
        rest = behind;
        (!line.is_empty()).then_some(line)
    })
}

/// The number of the line that contains an offset, counted from 1. An offset between the two characters of a CRLF
/// pair is on the line that the pair ends.
pub(crate) fn number_at(text: &str, offset: usize) -> u32 {
    let mut end = 0;
    let ended = lines(text).filter(|line| line.ends_with(is_break)).take_while(|line| {
        end += line.len();
        end <= offset
    });
    u32::try_from(ended.count()).unwrap_or(u32::MAX).saturating_add(1)
}

/// The text before an offset on its line.
pub(crate) fn before(text: &str, offset: usize) -> &str {
    let head = text.get(..outside_break(text, offset)).unwrap_or("");
    head.rsplit(is_break).next().unwrap_or("")
}

/// Moves an offset out of a CRLF pair to the pair's beginning; returns any other offset unchanged.
pub(crate) fn outside_break(text: &str, offset: usize) -> usize {
    let parted =
        offset.checked_sub(1).filter(|&before| text.get(before..).is_some_and(|rest| rest.starts_with("\r\n")));
    parted.unwrap_or(offset)
}

/// The nearest character boundary at or before an offset.
pub(super) fn floor(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_a_line_feed_a_carriage_return_or_both() {
        let text = "a\nb\rc\r\nd\n\r\r\r\ne";

        assert_eq!(lines(text).collect::<Vec<_>>(), ["a\n", "b\r", "c\r\n", "d\n", "\r", "\r", "\r\n", "e"]);
        let numbers: Vec<u32> = (0..=text.len()).map(|offset| number_at(text, offset)).collect();
        assert_eq!(numbers, [1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 6, 7, 7, 8, 8]);
        let heads: Vec<&str> = (0..=text.len()).map(|offset| before(text, offset)).collect();
        assert_eq!(heads, ["", "a", "", "b", "", "c", "c", "", "d", "", "", "", "", "", "e"]);
        assert_eq!(lines("").count(), 0);
    }
}
