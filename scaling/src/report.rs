//! The tables and plots of docs/scaling.md.

use std::path::{Path, PathBuf};

use plotters::prelude::*;
use serde_json::{Value, json};

use crate::fleet::{Case, Failure, Outcome, run};

/// How many Envoys there are.
pub const SIZES: [usize; 7] = [1, 3, 10, 30, 100, 300, 1000];
/// The fleet whose requests are plotted over time.
const SHOWN: usize = 100;
/// The marks around the tables in the page.
const MARKS: (&str, &str) = ("<!-- figures: begin -->", "<!-- figures: end -->");

/// Settings that are compared.
pub struct Settings {
    /// As the page calls them.
    pub name: &'static str,
    /// `breaker` of the configuration.
    pub breaker: fn() -> Value,
}

pub const SETTINGS: [Settings; 3] = [
    Settings { name: "defaults", breaker: || json!({}) },
    Settings { name: "medium fleet", breaker: || json!({"consecutive": 3, "open": "15s"}) },
    Settings { name: "large fleet", breaker: || json!({"consecutive": 2, "open": "30s"}) },
];

/// What was simulated.
pub struct Report {
    /// The tables in Markdown.
    pub tables: String,
    outcomes: Vec<(Failure, usize, usize, Outcome)>,
}

/// Plays all cases.
pub fn make() -> Report {
    let mut tables = String::new();
    let mut outcomes = Vec::new();
    for failure in [Failure::Fast, Failure::Slow] {
        tables.push_str(&format!("\n{}\n\n{HEAD}", heading(failure)));
        for (number, settings) in SETTINGS.iter().enumerate() {
            for size in SIZES {
                let outcome = run(&Case::usual(size, failure, (settings.breaker)()));
                tables.push_str(&row(size, settings, &outcome));
                outcomes.push((failure, number, size, outcome));
            }
        }
    }
    Report { tables, outcomes }
}

const HEAD: &str =
    "| Envoys | settings | failed attempts, first minute | probes/s later | back after | errors |
|---|---|---|---|---|---|
";

fn heading(failure: Failure) -> &'static str {
    match failure {
        Failure::Fast => "The provider fails with 503 after 50 ms:",
        Failure::Slow => "The provider fails with 504 after 10 s:",
    }
}

/// A row of a table.
pub fn row(size: usize, settings: &Settings, outcome: &Outcome) -> String {
    let back =
        outcome.back_after_s.map_or_else(|| "not in 2 min".to_owned(), |seconds| format!("{seconds} s"));
    format!(
        "| {size} | {} | {} | {:.1} | {back} | {} |\n",
        settings.name, outcome.first_minute, outcome.probes_per_s, outcome.errors
    )
}

pub fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scaling.md")
}

impl Report {
    /// Writes the tables into the page, and the plots beside it.
    pub fn write(&self) -> Result<(), String> {
        let page = page();
        let text = std::fs::read_to_string(&page).map_err(|error| format!("{}: {error}", page.display()))?;
        let (before, rest) = text.split_once(MARKS.0).ok_or("docs/scaling.md has no mark")?;
        let (_, after) = rest.split_once(MARKS.1).ok_or("docs/scaling.md has no end mark")?;
        let text = format!("{before}{}\n{}\n{}{after}", MARKS.0, self.tables, MARKS.1);
        std::fs::write(&page, text).map_err(|error| format!("{}: {error}", page.display()))?;
        let folder = page.with_file_name("scaling");
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let failed = |error: DrawingAreaErrorKind<std::io::Error>| format!("a plot: {error}");
        self.by_size(
            &folder.join("wasted.svg"),
            "Failed attempts in the first minute, if they fail within 50 ms",
            |outcome| outcome.first_minute as f64,
        )
        .map_err(failed)?;
        self.by_size(
            &folder.join("probes.svg"),
            "Probes per second after that, if they fail within 50 ms",
            |outcome| outcome.probes_per_s,
        )
        .map_err(failed)?;
        self.over_time(&folder.join("over-time.svg")).map_err(failed)
    }

    fn by_size(&self, file: &Path, title: &str, figure: fn(&Outcome) -> f64) -> Drawn {
        let of_plot = || self.outcomes.iter().filter(|(failure, ..)| *failure == Failure::Fast);
        let most = of_plot().map(|(.., outcome)| figure(outcome)).fold(1.0, f64::max);
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, FONT)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d((1.0..1000.0).log_scale(), (0.01..most * 1.5).log_scale())?;
        chart.configure_mesh().x_desc("Envoys").draw()?;
        for (number, settings) in SETTINGS.iter().enumerate() {
            let points: Vec<_> = of_plot()
                .filter(|(_, of, ..)| *of == number)
                .map(|(_, _, size, outcome)| (*size as f64, figure(outcome).max(0.01)))
                .collect();
            let colour = COLOURS[number];
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?
                .label(settings.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .border_style(BLACK)
            .draw()?;
        area.present()
    }

    fn over_time(&self, file: &Path) -> Drawn {
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let title = format!("Requests per second at the provider, {SHOWN} Envoys, outage from 60 s to 240 s");
        let mut chart = ChartBuilder::on(&area)
            .caption(title, FONT)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..360.0, 0.0..150.0)?;
        chart.configure_mesh().x_desc("seconds").draw()?;
        for (number, settings) in SETTINGS.iter().enumerate() {
            let is_it = |(failure, of, size, _): &&(Failure, usize, usize, Outcome)| {
                *failure == Failure::Fast && *of == number && *size == SHOWN
            };
            let Some((.., outcome)) = self.outcomes.iter().find(is_it) else { continue };
            // Arrivals are random, so five seconds together.
            let points = outcome.at_provider.chunks(5).enumerate().map(|(at, five)| {
                (at as f64 * 5.0 + 2.5, five.iter().sum::<u64>() as f64 / five.len() as f64)
            });
            let colour = COLOURS[number];
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
                .label(settings.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperMiddle)
            .border_style(BLACK)
            .draw()?;
        area.present()
    }
}

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;
const SIZE: (u32, u32) = (720, 420);
const FONT: (&str, u32) = ("sans-serif", 16);
const COLOURS: [RGBColor; 3] = [RGBColor(31, 119, 180), RGBColor(70, 140, 60), RGBColor(214, 90, 20)];

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures of a row of the page: failed attempts, probes per second, and seconds until it is back.
    fn shown(page: &str, failure: Failure, settings: &Settings, size: usize) -> [f64; 3] {
        let table = page.split(heading(failure)).nth(1).unwrap();
        let begin = format!("| {size} | {} | ", settings.name);
        let row = table.lines().find_map(|line| line.strip_prefix(&begin)).unwrap();
        let figures: Vec<_> = row.split(" | ").collect();
        [0, 1, 2].map(|at| figures[at].trim_end_matches(" s").parse().unwrap())
    }

    /// Some cases that a debug build plays within seconds. A change of the filter may move the figures a little.
    #[test]
    fn the_page_has_about_what_the_simulation_gives() {
        let page = std::fs::read_to_string(page()).unwrap();
        for (failure, number, size) in [(Failure::Fast, 0, 1), (Failure::Slow, 1, 10), (Failure::Fast, 2, 10)]
        {
            let settings = &SETTINGS[number];
            let outcome = run(&Case::usual(size, failure, (settings.breaker)()));
            let [wasted, probes, back] = shown(&page, failure, settings, size);
            let case = format!("{failure:?}, {size}, {}: {}", settings.name, row(size, settings, &outcome));
            assert!((outcome.first_minute as f64 - wasted).abs() <= wasted / 3.0, "{case}");
            assert!((outcome.probes_per_s - probes).abs() <= probes / 2.0 + 0.1, "{case}");
            assert!((outcome.back_after_s.unwrap() as f64 - back).abs() <= 15.0, "{case}");
        }
    }
}
