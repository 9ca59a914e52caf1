//! Line charts, in SVG.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use plotters::prelude::*;

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

/// Where a line goes.
pub(crate) type Points = Vec<(f64, f64)>;

/// One chart of a picture.
#[derive(Debug)]
pub(crate) struct Panel {
    title: String,
    x_name: &'static str,
    lines: Vec<(String, Points)>,
    /// A vertical line at each of these.
    marks: Vec<f64>,
}

impl Panel {
    pub(crate) fn new(
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

/// One under the other.
pub(crate) fn draw(panels: &[Panel]) -> anyhow::Result<String> {
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

/// Writes a picture.
pub(crate) fn write(file: &Path, svg: &str) -> anyhow::Result<()> {
    std::fs::write(file, svg).with_context(|| format!("writing the plot {}", file.display()))
}

fn picture(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing the plot: {error}")
}
