//! The graph of steps as DOT, Mermaid and SVG.

use std::collections::HashMap;
use std::fmt::Write as _;

use landfall_model::StepId;
use landfall_model::plan::{Action, Plan, PlannedStep};

/// Graphviz DOT.
pub fn dot(plan: &Plan) -> String {
    let mut text = format!(
        "digraph \"{}\" {{\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];\n",
        plan.wanted.facts.name
    );
    for step in &plan.steps {
        let _ = writeln!(
            text,
            "  \"{}\" [label=\"{}\\n{} {}\", fillcolor=\"{}\"];",
            step.id,
            step.id,
            step.action.word(),
            step.kind.word(),
            fill(step.action)
        );
    }
    for (before, step) in edges(plan) {
        let _ = writeln!(text, "  \"{before}\" -> \"{}\";", step.id);
    }
    text.push_str("}\n");
    text
}

/// A Mermaid flowchart, as Markdown viewers draw it.
pub fn mermaid(plan: &Plan) -> String {
    let names: HashMap<&StepId, String> = plan
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| (&step.id, format!("s{index}")))
        .collect();
    let mut text = "flowchart LR\n".to_owned();
    for step in &plan.steps {
        let _ = writeln!(
            text,
            "  {}[\"{}<br/><small>{} {}</small>\"]:::{}",
            names[&step.id],
            step.id,
            step.action.word(),
            step.kind.word(),
            step.action.word()
        );
    }
    for (before, step) in edges(plan) {
        let _ = writeln!(text, "  {} --> {}", names[before], names[&step.id]);
    }
    let mut drawn: Vec<Action> = plan.steps.iter().map(|step| step.action).collect();
    drawn.sort();
    drawn.dedup();
    for action in drawn {
        let _ = writeln!(
            text,
            "  classDef {} fill:{},stroke:#57606a,color:#1f2328",
            action.word(),
            fill(action)
        );
    }
    text
}

fn edges(plan: &Plan) -> impl Iterator<Item = (&StepId, &PlannedStep)> {
    plan.steps
        .iter()
        .flat_map(|step| step.after.iter().map(move |before| (before, step)))
}

fn fill(action: Action) -> &'static str {
    match action {
        Action::Create => "#dafbe1",
        Action::Update => "#fff8c5",
        Action::Delete => "#ffebe9",
        Action::Adopt => "#ddf4ff",
        Action::Check => "#fbefff",
        Action::None => "#f6f8fa",
    }
}

const WIDTH: usize = 230;
const HEIGHT: usize = 52;
const GAP_X: usize = 70;
const GAP_Y: usize = 22;
const MARGIN: usize = 24;

/// A picture: each column holds the steps that can run once the column before it is done.
pub fn svg(plan: &Plan) -> String {
    let places = layout(plan);
    let columns = places.values().map(|(column, _)| column + 1).max().unwrap_or(1);
    let rows = places.values().map(|(_, row)| row + 1).max().unwrap_or(1);
    let at = |id: &StepId| {
        let (column, row) = places[id];
        (MARGIN + column * (WIDTH + GAP_X), MARGIN + row * (HEIGHT + GAP_Y))
    };
    let width = 2 * MARGIN + columns * WIDTH + (columns - 1) * GAP_X;
    let height = 2 * MARGIN + rows * HEIGHT + (rows - 1) * GAP_Y;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"ui-sans-serif, system-ui, sans-serif\">\n\
         <title>{}</title>\n\
         <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
         <path d=\"M0 0L8 4L0 8z\" fill=\"#57606a\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        escape(&plan.wanted.facts.name)
    );
    for (before, step) in edges(plan) {
        let ((x1, y1), (x2, y2)) = (at(before), at(&step.id));
        let (x1, y1, x2, y2) = (x1 + WIDTH, y1 + HEIGHT / 2, x2, y2 + HEIGHT / 2);
        let bend = x1 + (x2.max(x1) - x1) / 2;
        let _ = writeln!(
            text,
            "<path d=\"M{x1} {y1}C{bend} {y1} {bend} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#8c959f\" \
             stroke-width=\"1.4\" marker-end=\"url(#arrow)\"/>"
        );
    }
    for step in &plan.steps {
        let (x, y) = at(&step.id);
        let _ = writeln!(
            text,
            "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\" fill=\"{}\" \
             stroke=\"#57606a\"/><text x=\"{}\" y=\"{}\" font-size=\"14\" font-weight=\"600\" fill=\"#1f2328\">{}</text>\
             <text x=\"{}\" y=\"{}\" font-size=\"12\" fill=\"#57606a\">{} {}</text></g>",
            escape(&step.reason),
            fill(step.action),
            x + 12,
            y + 22,
            escape(&shortened(step.id.as_str(), 28)),
            x + 12,
            y + 40,
            step.action.word(),
            step.kind.word()
        );
    }
    text.push_str("</svg>\n");
    text
}

/// Column by longest way from the start; row by the middle of what comes before, in file order.
fn layout(plan: &Plan) -> HashMap<StepId, (usize, usize)> {
    let mut column: HashMap<&StepId, usize> = HashMap::new();
    let mut columns: Vec<Vec<&PlannedStep>> = Vec::new();
    for step in &plan.steps {
        let at = step
            .after
            .iter()
            .filter_map(|before| column.get(before))
            .max()
            .map_or(0, |before| before + 1);
        column.insert(&step.id, at);
        columns.resize_with(columns.len().max(at + 1), Vec::new);
        columns[at].push(step);
    }
    let mut places: HashMap<StepId, (usize, usize)> = HashMap::new();
    for (x, steps) in columns.iter_mut().enumerate() {
        let middle = |step: &PlannedStep| {
            let rows: Vec<usize> = step
                .after
                .iter()
                .filter_map(|before| places.get(before))
                .map(|(_, row)| *row)
                .collect();
            if rows.is_empty() {
                0
            } else {
                rows.iter().sum::<usize>() * 100 / rows.len()
            }
        };
        steps.sort_by_cached_key(|step| middle(step));
        for (y, step) in steps.iter().enumerate() {
            places.insert(step.id.clone(), (x, y));
        }
    }
    places
}

fn shortened(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    text.chars().take(letters - 1).chain(['…']).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
