//! Langflow's rule for names that are taken.

/// The name, or `name (n)` with the number after the highest one in use. As in Langflow, gaps are
/// not filled.
pub(super) fn free_name(name: &str, taken: &[String]) -> String {
    if !taken.iter().any(|other| other == name) {
        return name.to_owned();
    }
    let numbers = taken.iter().filter_map(|other| {
        other.strip_prefix(name)?.strip_prefix(" (")?.strip_suffix(')').and_then(number)
    });
    format!("{name} ({})", numbers.max().unwrap_or(0).saturating_add(1))
}

/// The same for names in URLs: `name-n`.
pub(super) fn free_endpoint_name(name: &str, taken: &[String]) -> String {
    if !taken.iter().any(|other| other == name) {
        return name.to_owned();
    }
    let numbers = taken
        .iter()
        .filter_map(|other| other.strip_prefix(name)?.strip_prefix('-').and_then(number));
    format!("{name}-{}", numbers.max().unwrap_or(0).saturating_add(1))
}

/// A number as these rules write it: `X (+1)` and `X (007)` are just names.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text && *number < u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(wished: &str, taken: &[&str]) -> String {
        free_name(wished, &taken.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn taken_names_get_the_next_number() {
        assert_eq!(name("X", &[]), "X");
        assert_eq!(name("X", &["X (1)"]), "X", "a free name stays as it is");
        assert_eq!(name("X", &["X"]), "X (1)");
        assert_eq!(name("X", &["X", "X (1)", "X (7)"]), "X (8)");
        assert_eq!(name("X", &["X", "X (1) (5)", "X (y)", "XY", "X (+3)", "X (007)"]), "X (1)");
        assert_eq!(name("X (1)", &["X (1)"]), "X (1) (1)");
        assert_eq!(name("X", &["X", &format!("X ({})", u64::MAX)]), "X (1)");
    }

    #[test]
    fn endpoint_names_get_a_number_after_a_dash() {
        let free = |wished: &str, taken: &[&str]| {
            free_endpoint_name(wished, &taken.iter().map(|&n| n.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(free("x", &[]), "x");
        assert_eq!(free("x", &["x"]), "x-1");
        assert_eq!(free("x", &["x", "x-1", "x-3", "x-y"]), "x-4");
    }
}
