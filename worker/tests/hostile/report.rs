//! What was found, as a table and as a verdict.

use std::collections::{BTreeMap, BTreeSet};

use crate::backends::{Backend, KNOWN};
use crate::cell::Said;
use crate::register::Probe;

/// Everything that was said, and what is wrong with it.
#[derive(Default)]
pub(crate) struct Report {
    probes: Vec<Probe>,
    controls: BTreeMap<String, Said>,
    columns: Vec<Column>,
    wrong: Vec<String>,
    notes: Vec<String>,
}

struct Column {
    backend: &'static str,
    said: BTreeMap<String, Said>,
    /// Findings that fail nothing: known, or of a wide filter.
    open: BTreeSet<String>,
}

impl Column {
    fn counts<'a>(&self, ids: impl Iterator<Item = &'a str>) -> (usize, usize, usize) {
        let (mut held, mut open, mut found) = (0, 0, 0);
        for id in ids {
            match self.said.get(id) {
                Some(said) if said.finding.is_none() && said.error.is_none() => held += 1,
                Some(_) if self.open.contains(id) => open += 1,
                _ => found += 1,
            }
        }
        (held, open, found)
    }
}

impl Report {
    pub(crate) fn new(probes: Vec<Probe>) -> Self {
        Self { probes, ..Self::default() }
    }

    /// Takes what the weak containers said. Each probe must have found something there.
    pub(crate) fn controls(&mut self, said: Vec<Said>) {
        self.controls = said.into_iter().map(|said| (said.id.clone(), said)).collect();
        if let Some(harmless) = self.controls.get("control.harmless")
            && harmless.finding.is_some()
        {
            self.wrong.push(format!(
                "control: a component that does nothing gave {:?}",
                harmless.finding
            ));
        }
        for probe in &self.probes {
            let found = self.controls.get(&probe.id);
            match found {
                Some(Said { finding: Some(_), .. }) => {}
                Some(Said { error: None, .. }) if !probe.no_control.is_empty() => {
                    self.notes.push(format!("no control for {}: {}", probe.id, probe.no_control));
                }
                _ => self
                    .wrong
                    .push(format!("{}: the control did not find anything: {found:?}", probe.id)),
            }
        }
    }

    /// Takes what the probes said on a backend.
    pub(crate) fn backend(&mut self, backend: &Backend, said: Vec<Said>) {
        let mut column = Column {
            backend: backend.name,
            said: said.into_iter().map(|said| (said.id.clone(), said)).collect(),
            open: BTreeSet::new(),
        };
        for said in
            column.said.values().filter(|said| said.finding.is_some() || said.error.is_some())
        {
            let probe = self.probes.iter().find(|probe| probe.id == said.id);
            let known = KNOWN.iter().find(|(name, id, _)| *name == backend.name && *id == said.id);
            let text = format!("{} on {}: {}", said.id, backend.name, evidence(said));
            let about = probe.map_or("", |probe| &probe.about);
            if said.error.is_none() && probe.is_some_and(|probe| probe.narrow && !backend.narrow) {
                self.notes.push(format!("open, only the engine's filter: {text}"));
                column.open.insert(said.id.clone());
            } else if let Some((_, _, reason)) = known {
                self.notes.push(format!("known: {text}. {reason}"));
                column.open.insert(said.id.clone());
            } else {
                self.wrong.push(format!("{text} [{about}]"));
            }
        }
        for probe in self.probes.iter().filter(|probe| !column.said.contains_key(&probe.id)) {
            self.wrong.push(format!("{} was not run on {}", probe.id, backend.name));
        }
        self.columns.push(column);
    }

    /// Something seen from outside.
    pub(crate) fn wrong(&mut self, text: String) {
        self.wrong.push(text);
    }

    /// Prints everything and fails if anything is wrong.
    pub(crate) fn finish(self) {
        eprintln!("{}", self.table());
        for note in &self.notes {
            eprintln!("{note}");
        }
        assert!(
            self.wrong.is_empty(),
            "{} findings of the hostile-code suite:\n{}",
            self.wrong.len(),
            self.wrong.join("\n")
        );
    }

    fn table(&self) -> String {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for probe in &self.probes {
            groups.entry(&probe.group).or_default().push(&probe.id);
        }
        let mut text = format!("{:<20}{:>8}{:>10}", "group", "probes", "control");
        for column in &self.columns {
            text +=
                &format!("{:>16}{:>7}{:>7}", format!("{} held", column.backend), "open", "found");
        }
        let total = ("all", self.probes.iter().map(|probe| probe.id.as_str()).collect());
        for (group, ids) in groups.into_iter().chain([total]) {
            let found =
                |id: &&&str| self.controls.get(**id).is_some_and(|said| said.finding.is_some());
            let controls = ids.iter().filter(found).count();
            text += &format!("\n{group:<20}{:>8}{controls:>10}", ids.len());
            for column in &self.columns {
                let (held, open, found) = column.counts(ids.iter().copied());
                text += &format!("{held:>16}{open:>7}{found:>7}");
            }
        }
        text
    }

    /// Every probe with its technique and what came of it, for whoever wants to look closer.
    pub(crate) fn details(&self) -> String {
        let mut text = String::new();
        for probe in &self.probes {
            text += &format!("{} | {} | {}\n", probe.id, probe.about, probe.technique);
            for (name, said) in self
                .columns
                .iter()
                .map(|column| (column.backend, &column.said))
                .chain([("control", &self.controls)])
            {
                if let Some(said) = said.get(&probe.id) {
                    text += &format!("    {name}: {}\n", evidence(said));
                }
            }
        }
        text
    }
}

fn evidence(said: &Said) -> String {
    match (&said.finding, &said.error) {
        (Some(finding), _) => format!("FINDING {finding}"),
        (None, Some(error)) => format!("MISTAKE {error}"),
        (None, None) => format!("held {}", said.why),
    }
}
