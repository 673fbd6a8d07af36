//! "Did you mean": the known name closest to one that is not known.

/// The candidate within two edits of `name` (insert, delete, replace or swap neighbours) that
/// needs the fewest, of equals the first by name. Short names must be closer: one edit per three letters.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.len() / 3).clamp(1, 2);
    let near = candidates.into_iter().filter(|known| known.len().abs_diff(name.len()) <= limit);
    near.map(|known| (distance(name.as_bytes(), known.as_bytes()), known))
        .filter(|&(edits, _)| edits <= limit)
        .min()
        .map(|(_, known)| known)
}

/// `; did you mean "x"?` for the nearest candidate, else nothing.
pub(super) fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    // No known name is longer than 64 bytes, so a longer one needs no search.
    let near = if name.len() <= 66 { nearest(name, candidates) } else { None };
    near.map(|known| format!("; did you mean \"{known}\"?")).unwrap_or_default()
}

/// Optimal string alignment distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let width = b.len() + 1;
    let mut rows: Vec<usize> = (0..width).chain(std::iter::repeat_n(0, 2 * width)).collect();
    let (mut before, mut last, mut row) = (2 * width, 0, width);
    for i in 1..=a.len() {
        rows[row] = i;
        for j in 1..=b.len() {
            let replaced = rows[last + j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[last + j] + 1).min(rows[row + j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[before + j - 2] + 1);
            }
            rows[row + j] = best;
        }
        (before, last, row) = (last, row, before);
    }
    rows[last + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_of_the_finger_and_nothing_else() {
        assert_eq!(nearest("contian", ["contains", "contain"]), Some("contain"));
        assert_eq!(nearest("starts_wiht", ["starts_with", "contains"]), Some("starts_with"));
        assert_eq!(nearest("gtt", ["gt", "lt"]), Some("gt"));
        assert_eq!(nearest("above", ["after", "before"]), None);
        assert_eq!(nearest("", ["a"]), Some("a"));
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"ab", b"ba"), 1);
    }
}
