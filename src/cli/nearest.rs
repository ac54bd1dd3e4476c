//! The word that somebody meant to type.

/// Longer words are not compared: the work grows with the product of the lengths.
const MAX_LEN: usize = 64;

/// The candidate that is nearest to `typed`, when it is near enough to be meant.
pub(crate) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = typed.chars().count().div_ceil(3).clamp(1, 3);
    candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(typed, candidate)?, candidate)))
        .filter(|(distance, candidate)| {
            *distance <= limit || (typed.len() >= 2 && candidate.starts_with(typed))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, remove or replace (Levenshtein's distance), `None` for words that are too long.
fn distance(left: &str, right: &str) -> Option<usize> {
    let right: Vec<char> = right.chars().take(MAX_LEN + 1).collect();
    if right.len() > MAX_LEN || left.chars().take(MAX_LEN + 1).count() > MAX_LEN {
        return None;
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, l) in left.chars().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        let mut next = vec![before];
        for (r, above) in right.iter().zip(row.iter().skip(1)) {
            let cost = (diagonal + usize::from(l != *r)).min(above + 1).min(before + 1);
            diagonal = *above;
            before = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let verbs = ["list", "logs", "status", "start", "stop", "reload", "restart"];
        for (typed, meant) in [
            ("lst", Some("list")),
            ("realod", Some("reload")),
            ("stat", Some("start")),
            ("sttaus", Some("status")),
            ("frobnicate", None),
        ] {
            assert_eq!(nearest(typed, verbs), meant, "{typed}");
        }
    }

    #[test]
    fn endless_words_cost_nothing() {
        assert_eq!(nearest(&"x".repeat(1_000_000), ["list"]), None);
    }
}
