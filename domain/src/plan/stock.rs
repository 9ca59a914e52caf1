//! Which components are Langflow's own, by all of their code.
//!
//! The hash in an export is whatever its author wrote, and twelve digits can be matched on purpose.
//! So the list holds whole SHA-256 sums of the code that Langflow 1.13 ships, and the code that
//! would run is compared with it. Components that run code or commands out of their fields are not
//! on it. `scripts/stock-components` writes it anew.

use crate::flow::Node;

/// One sum a line, sorted.
const SUMS: &str = include_str!("stock.txt");

/// Whether the code of a node is known.
pub(super) fn is_stock(node: &Node) -> bool {
    #[cfg(test)]
    if node.code() == Some("class Stock: pass") {
        return true;
    }
    node.code_digest().is_some_and(|digest| SUMS.lines().any(|line| line == digest))
}

#[cfg(test)]
mod tests {
    use super::SUMS;

    #[test]
    fn the_list_is_sorted_and_whole() {
        let lines: Vec<&str> = SUMS.lines().collect();
        assert!(lines.len() > 50 && lines.is_sorted());
        let is_sum = |line: &&str| line.len() == 64 && line.chars().all(|c| c.is_ascii_hexdigit());
        assert!(lines.iter().all(is_sum));
    }
}
