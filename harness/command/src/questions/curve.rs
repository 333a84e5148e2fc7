//! Figures as a picture.

use evenkeel_harness::questions::Curve;
use plotters::prelude::{
    ChartBuilder, Circle, Color, IntoDrawingArea, IntoFont, LineSeries, Palette, Palette99,
    PathElement, SVGBackend, WHITE,
};

/// The curve as SVG.
///
/// # Errors
/// A sentence, if it cannot be drawn.
pub(super) fn svg(title: &str, curve: &Curve) -> Result<String, String> {
    let mut text = String::new();
    draw(&mut text, title, curve).map_err(|error| format!("the curve cannot be drawn: {error}"))?;
    Ok(text)
}

fn draw(
    text: &mut String,
    title: &str,
    curve: &Curve,
) -> Result<(), Box<dyn std::error::Error + 'static>> {
    let points = || curve.lines.iter().flat_map(|(_, points)| points);
    let x_max = points().map(|(x, _)| *x).max().unwrap_or(0).max(1);
    let y_max = points().map(|(_, y)| *y).max().unwrap_or(0).max(1);
    let area = SVGBackend::with_string(text, (900, 560)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title.split('?').next().unwrap_or(title), ("sans-serif", 20).into_font())
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d(0..x_max, 0..y_max + y_max / 20)?;
    chart.configure_mesh().x_desc(curve.x).y_desc(curve.y).draw()?;
    for (at, (name, points)) in curve.lines.iter().enumerate() {
        let color = Palette99::pick(at).to_rgba();
        let line = LineSeries::new(points.iter().copied(), color.stroke_width(2));
        chart.draw_series(line)?.label(*name).legend(move |(x, y)| {
            PathElement::new(vec![(x, y), (x + 20, y)], color.stroke_width(2))
        });
        let dots = points.iter().map(|point| Circle::new(*point, 3, color.filled()));
        chart.draw_series(dots)?;
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).draw()?;
    area.present()?;
    drop(chart);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::svg;
    use evenkeel_harness::questions::Curve;

    #[test]
    fn a_curve_shows_each_line_with_its_name() {
        let lines = vec![("slow", vec![(0, 1), (10, 500)]), ("fast", vec![(0, 1), (10, 2)])];
        let drawn = svg("Which?", &Curve { x: "load", y: "wait", lines });
        let drawn = drawn.expect("it can be drawn");
        assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>"), "{drawn}");
        for word in ["Which", "load", "wait", "slow", "fast"] {
            assert!(drawn.contains(word), "no {word} in {drawn}");
        }
        let thick = drawn.matches("stroke-width=\"2\"").count();
        assert_eq!(thick, 4, "two lines and two in the legend: {drawn}");
        assert_eq!(drawn.matches("<circle").count(), 4, "the points");
    }
}
