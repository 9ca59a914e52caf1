//! The figures for people, as Markdown.

use super::asks::Answered;
use super::past::Table;
use super::statements::Statement;
use super::{Figures, History, Removal};
use crate::cluster::report::Step;
use crate::cluster::table::{mebibytes, three};
use crate::load::Percentiles;

/// Statements that touch fewer pages are not worth a line.
const PAGES_MIN: f64 = 20.0;
/// Neither are those that touch hardly more than before.
const GROWTH_MIN: f64 = 2.0;
const QUERY_CHARS: usize = 150;

impl History {
    /// Sizes, answers and new runs before, after and while runs are removed, and what has grown.
    pub(crate) fn table(&self) -> String {
        let Self { filled, before, after, removal } = self;
        let head = format!(
            "## Beside {} ended runs, {} of them the tenant's\n{:.0} bytes each, generated in {:.0} \
             s\n\n{}\n",
            filled.runs,
            filled.of_the_tenant,
            filled.bytes_per_run,
            filled.seconds,
            sizes(&filled.tables)
        );
        let parts = [
            head,
            answers(before, after, removal),
            chains(before, after, removal),
            grown(&before.statements, &after.statements),
            removed(removal),
        ];
        parts.join("\n")
    }
}

fn sizes(tables: &[Table]) -> String {
    let head = "| table | rows MiB | indexes MiB |\n|---|---:|---:|\n";
    let mib = |bytes: i64| mebibytes(u64::try_from(bytes).unwrap_or(0));
    let row = |table: &Table| {
        let Table { name, bytes, index_bytes } = table;
        format!("| {name} | {:.0} | {:.0} |\n", mib(*bytes), mib(*index_bytes))
    };
    head.to_owned() + &tables.iter().map(row).collect::<String>()
}

fn answers(before: &Figures, after: &Figures, removal: &Removal) -> String {
    let head = "| list or view | before p50 | p95 | p99 ms | after p50 | p95 | p99 ms | ratio of p50 \
                | removing p50 | p95 | p99 ms |\n\
                |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
    let rows = before.asks.iter().zip(&after.asks).zip(&removal.asks);
    let row = |((before, after), removing): ((&Answered, &Answered), &Answered)| {
        compared(before.name, [before, after, removing].map(|asked| Some(&asked.latency_ms)))
    };
    head.to_owned() + &rows.map(row).collect::<String>()
}

fn chains(before: &Figures, after: &Figures, removal: &Removal) -> String {
    let head = "| callers, and what | before p50 | p95 | p99 ms | after p50 | p95 | p99 ms | ratio \
                of p50 | removing p50 | p95 | p99 ms |\n\
                |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
    let rows = before.runs.iter().zip(&after.runs).zip(&removal.runs);
    let row = |((before, after), removing): ((&Step, &Step), &Step)| {
        let steps = [before, after, removing];
        let whole = steps.map(|step| step.latency_ms.as_ref());
        let hops = steps.map(|step| step.hop_ms.as_ref());
        compared(&format!("{}: run", before.at), whole)
            + &compared(&format!("{}: from task to task", before.at), hops)
    };
    head.to_owned() + &rows.map(row).collect::<String>()
}

fn compared(name: &str, [before, after, removing]: [Option<&Percentiles>; 3]) -> String {
    let ratio = match (before, after) {
        (Some(before), Some(after)) => format!("{:.2}", after.p50 / before.p50),
        (Some(_) | None, _) => "-".to_owned(),
    };
    format!("| {name} | {} | {} | {ratio} | {} |\n", three(before), three(after), three(removing))
}

/// What touches many pages, and many more than before.
fn grown(before: &[Statement], after: &[Statement]) -> String {
    let head =
        "| pages before | after | ms before | after | statement |\n|---:|---:|---:|---:|---|\n";
    let row = |now: &Statement| {
        let earlier = before.iter().find(|earlier| earlier.query == now.query);
        let (pages, ms) = earlier.map_or((0.0, 0.0), |earlier| (earlier.pages, earlier.mean_ms));
        let is_worth = now.pages >= PAGES_MIN && now.pages >= GROWTH_MIN * pages;
        is_worth.then(|| {
            let query = short(&now.query);
            format!(
                "| {pages:.0} | {:.0} | {ms:.2} | {:.2} | `{query}` |\n",
                now.pages, now.mean_ms
            )
        })
    };
    let rows: String = after.iter().filter_map(row).collect();
    let count = after.len();
    format!(
        "Of {count} statements, those that touch at least {PAGES_MIN} pages and twice as many as \
             before:\n\n{head}{rows}"
    )
}

fn removed(removal: &Removal) -> String {
    let per_s = i32::try_from(removal.runs_removed).map_or(0.0, f64::from) / removal.seconds;
    let deletes =
        removal.statements.iter().filter(|statement| statement.query.starts_with("DELETE"));
    let delete = |statement: &Statement| {
        let Statement { query, calls, mean_ms, max_ms, pages, rows, .. } = statement;
        let query = short(query);
        format!("| {calls} | {rows:.0} | {pages:.0} | {mean_ms:.1} | {max_ms:.1} | `{query}` |\n")
    };
    let table = |table: &super::removal::Cleaned| {
        format!("| {} | {} | {} | {} |\n", table.name, table.live, table.dead, table.autovacuums)
    };
    format!(
        "{per_s:.0} runs removed a second; the oldest transaction ever seen was {:.0} ms old; \
         somebody waited for a lock in {} of {} looks.\n\n\
         | calls | rows | pages | mean ms | max ms | statement |\n|---:|---:|---:|---:|---:|---|\n{}\n\
         | table | rows | dead | autovacuums |\n|---|---:|---:|---:|\n{}",
        removal.transaction_ms_max,
        removal.looks_with_waits,
        removal.looks,
        deletes.map(delete).collect::<String>(),
        removal.tables.iter().map(table).collect::<String>()
    )
}

fn short(query: &str) -> String {
    let flat = query.split_whitespace().collect::<Vec<_>>().join(" ");
    let kept: String = flat.chars().take(QUERY_CHARS).collect();
    if kept.len() < flat.len() { kept + " …" } else { kept }
}
