//! Pictures of a measurement, in SVG.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use plotters::prelude::*;

use super::config::Pace;
use super::report::{Report, Second, TargetReport};
use super::sweep::SweepReport;

const SIZE: (u32, u32) = (960, 720);
const FONT: &str = "sans-serif";
/// Colours that stay apart for colour-blind readers (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

type Points = Vec<(f64, f64)>;

#[derive(Debug)]
struct Panel {
    title: String,
    x_name: &'static str,
    lines: Vec<(String, Points)>,
    /// A vertical line at each of these.
    marks: Vec<f64>,
}

/// Latency percentiles and throughput over time.
pub(crate) fn report(report: &Report) -> anyhow::Result<String> {
    let mut latency = Vec::new();
    let mut throughput = Vec::new();
    for target in &report.targets {
        let rows = whole_seconds(target);
        let percentile = |name: &str, pick: fn(&Second) -> Option<f64>| {
            let points =
                rows.iter().filter_map(|row| Some((row.second as f64, pick(row)?))).collect();
            (format!("{} {name}", target.label), points)
        };
        latency.push(percentile("p50", |row| row.p50_ms));
        latency.push(percentile("p95", |row| row.p95_ms));
        latency.push(percentile("p99", |row| row.p99_ms));
        let count = |name: &str, pick: fn(&Second) -> u64| {
            let points = rows.iter().map(|row| (row.second as f64, pick(row) as f64)).collect();
            (format!("{} {name}", target.label), points)
        };
        throughput.push(count("ok", |row| row.ok));
        if target.runs.failed > 0 {
            throughput.push(count("failed", |row| row.failed));
        }
    }
    draw(&[
        Panel::new("latency, ms", "seconds", latency, Vec::new()),
        Panel::new("runs per second", "seconds", throughput, Vec::new()),
    ])
}

/// Throughput and latency against the number of callers, with the knees.
pub(crate) fn sweep(sweep: &SweepReport) -> anyhow::Result<String> {
    let mut latency = Vec::new();
    let mut throughput = Vec::new();
    for (index, knee) in sweep.knees.iter().enumerate() {
        let line = |name: &str, pick: fn(&TargetReport) -> Option<f64>| {
            let points = sweep.steps.iter().filter_map(|step| {
                let Pace::Closed { concurrency } = step.config.pace else {
                    return None;
                };
                Some((concurrency as f64, pick(step.targets.get(index)?)?))
            });
            (format!("{} {name}", knee.label), points.collect())
        };
        throughput.push(line("runs/s", |target| Some(target.achieved_per_s)));
        latency.push(line("p50", |target| Some(target.latency_ms?.p50)));
        latency.push(line("p95", |target| Some(target.latency_ms?.p95)));
    }
    let marks: Vec<f64> = sweep.knees.iter().map(|knee| knee.concurrency as f64).collect();
    draw(&[
        Panel::new("runs per second (the knee is marked)", "callers", throughput, marks.clone()),
        Panel::new("latency, ms", "callers", latency, marks),
    ])
}

/// Writes a picture.
pub(crate) fn write(file: &Path, svg: &str) -> anyhow::Result<()> {
    std::fs::write(file, svg).with_context(|| format!("writing the plot {}", file.display()))
}

/// Without the last second, which is a part of one and would look like a collapse.
fn whole_seconds(target: &TargetReport) -> &[Second] {
    match target.series.as_slice() {
        [first @ .., _] if first.len() > 1 => first,
        all => all,
    }
}

impl Panel {
    fn new(
        title: &str,
        x_name: &'static str,
        lines: Vec<(String, Points)>,
        marks: Vec<f64>,
    ) -> Self {
        Self { title: title.to_owned(), x_name, lines, marks }
    }

    /// The largest x and y, widened to leave room for the legend; never zero, which is no axis.
    fn extent(&self) -> (f64, f64) {
        let points = self.lines.iter().flat_map(|(_, points)| points);
        let (x, y) =
            points.fold((0.0_f64, 0.0_f64), |(x, y), point| (x.max(point.0), y.max(point.1)));
        (if x > 0.0 { x * 1.15 } else { 1.0 }, if y > 0.0 { y * 1.1 } else { 1.0 })
    }

    fn draw(
        &self,
        area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    ) -> anyhow::Result<()> {
        let (x_max, y_max) = self.extent();
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..x_max, 0.0..y_max)
            .map_err(picture)?;
        chart
            .configure_mesh()
            .x_desc(self.x_name)
            .label_style((FONT, 13))
            .light_line_style(WHITE)
            .draw()
            .map_err(picture)?;
        for mark in &self.marks {
            let points = [(*mark, 0.0), (*mark, y_max)];
            chart.draw_series(LineSeries::new(points, BLACK.mix(0.4))).map_err(picture)?;
        }
        for ((name, points), colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let style = colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(points.iter().copied(), style).point_size(2))
                .map_err(picture)?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .label_font((FONT, 13))
            .draw()
            .map_err(picture)
    }
}

fn draw(panels: &[Panel]) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(picture)?;
        for (panel, area) in panels.iter().zip(root.split_evenly((panels.len(), 1))) {
            panel.draw(&area)?;
        }
        root.present().map_err(picture)?;
    }
    Ok(svg)
}

fn picture(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing the plot: {error}")
}
