//! The graph of steps as DOT, Mermaid and SVG.

use std::collections::{HashMap, HashSet};
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
            "  \"{}\" [label=\"{}\\n{}\", fillcolor=\"{}\"];",
            step.id,
            step.id,
            what(step),
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
            "  {}[\"{}<br/><small>{}</small>\"]:::{}",
            names[&step.id],
            step.id,
            what(step),
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

/// The edges worth drawing: one that a longer way round already says is left out. Beyond some size a
/// picture is no help, and finding those would take long.
fn edges(plan: &Plan) -> Vec<(&StepId, &PlannedStep)> {
    const MOST: usize = 2_000;
    let mut ancestors: HashMap<&StepId, HashSet<&StepId>> = HashMap::new();
    let mut edges = Vec::new();
    for step in &plan.steps {
        let mut known: HashSet<&StepId> = HashSet::new();
        if plan.steps.len() <= MOST {
            for before in &step.after {
                known.extend(ancestors.get(before).into_iter().flatten());
            }
        }
        edges.extend(
            step.after
                .iter()
                .filter(|before| !known.contains(before))
                .map(|before| (before, step)),
        );
        known.extend(&step.after);
        ancestors.insert(&step.id, known);
    }
    edges
}

/// What is written below a step's name.
fn what(step: &PlannedStep) -> String {
    if step.action == Action::Check {
        return "check".to_owned();
    }
    format!("{} {}", step.action.word(), step.kind.word())
}

fn fill(action: Action) -> &'static str {
    match action {
        Action::Create => "#dafbe1",
        Action::Update => "#fff8c5",
        Action::Delete | Action::Sweep => "#ffebe9",
        Action::Adopt => "#ddf4ff",
        Action::Check | Action::Quiesce => "#fbefff",
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
    let edges = edges(plan);
    let layout = Layout::new(plan, &edges);
    let width = 2 * MARGIN + layout.columns * WIDTH + layout.columns.saturating_sub(1) * GAP_X;
    let height = 2 * MARGIN + layout.height;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"ui-sans-serif, system-ui, sans-serif\">\n\
         <title>{}</title>\n\
         <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
         <path d=\"M0 0L8 4L0 8z\" fill=\"#57606a\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        escape(&plan.wanted.facts.name)
    );
    for (index, (before, step)) in edges.iter().enumerate() {
        let _ = writeln!(
            text,
            "<path d=\"{}\" fill=\"none\" stroke=\"#8c959f\" stroke-width=\"1.4\" marker-end=\"url(#arrow)\"/>",
            layout.path(index, before, &step.id)
        );
    }
    for step in &plan.steps {
        let (x, y) = layout.corner(&step.id);
        let _ = writeln!(
            text,
            "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\" fill=\"{}\" \
             stroke=\"#57606a\"/><text x=\"{}\" y=\"{}\" font-size=\"14\" font-weight=\"600\" fill=\"#1f2328\">{}</text>\
             <text x=\"{}\" y=\"{}\" font-size=\"12\" fill=\"#57606a\">{}</text></g>",
            escape(&step.reason),
            fill(step.action),
            x + 12,
            y + 22,
            escape(&shortened(step.id.as_str(), 28)),
            x + 12,
            y + 40,
            what(step)
        );
    }
    text.push_str("</svg>\n");
    text
}

/// What takes up room in a column: a step, or an edge on its way to a later column.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Item<'a> {
    Step(&'a StepId),
    Passing { edge: usize, column: usize },
}

/// Where everything stands: column by longest way from the start, row by the middle of what it comes
/// from, in file order.
struct Layout<'a> {
    columns: usize,
    height: usize,
    column: HashMap<&'a StepId, usize>,
    /// The middle of each item, from the top margin.
    middle: HashMap<Item<'a>, usize>,
}

impl<'a> Layout<'a> {
    fn new(plan: &'a Plan, edges: &[(&'a StepId, &'a PlannedStep)]) -> Layout<'a> {
        let mut column: HashMap<&StepId, usize> = HashMap::new();
        let mut columns: Vec<Vec<Item<'_>>> = Vec::new();
        for step in &plan.steps {
            let at = step
                .after
                .iter()
                .filter_map(|before| column.get(before))
                .max()
                .map_or(0, |before| before + 1);
            column.insert(&step.id, at);
            columns.resize_with(columns.len().max(at + 1), Vec::new);
            columns[at].push(Item::Step(&step.id));
        }
        let mut comes_from: HashMap<Item<'_>, Vec<Item<'_>>> = HashMap::new();
        for (edge, (before, step)) in edges.iter().enumerate() {
            let mut from = Item::Step(before);
            let between = column[before] + 1..column[&step.id];
            for (column, items) in columns
                .iter_mut()
                .enumerate()
                .take(between.end)
                .skip(between.start)
            {
                let passing = Item::Passing { edge, column };
                items.push(passing);
                comes_from.entry(passing).or_default().push(from);
                from = passing;
            }
            comes_from.entry(Item::Step(&step.id)).or_default().push(from);
        }
        let mut layout = Layout {
            columns: columns.len(),
            height: 0,
            column,
            middle: HashMap::new(),
        };
        for items in &mut columns {
            items.sort_by_cached_key(|item| {
                let from: Vec<usize> = comes_from
                    .get(item)
                    .into_iter()
                    .flatten()
                    .map(|from| layout.middle[from])
                    .collect();
                if from.is_empty() {
                    0
                } else {
                    from.iter().sum::<usize>() / from.len()
                }
            });
            let mut y = 0;
            for item in items.iter() {
                let tall = if matches!(item, Item::Step(_)) {
                    HEIGHT
                } else {
                    GAP_Y
                };
                layout.middle.insert(*item, y + tall / 2);
                y += tall + GAP_Y;
            }
            layout.height = layout.height.max(y.saturating_sub(GAP_Y));
        }
        layout
    }

    fn left(column: usize) -> usize {
        MARGIN + column * (WIDTH + GAP_X)
    }

    fn corner(&self, step: &'a StepId) -> (usize, usize) {
        (
            Self::left(self.column[step]),
            MARGIN + self.middle[&Item::Step(step)] - HEIGHT / 2,
        )
    }

    /// From one step's right side, through the columns in between, to another's left side.
    fn path(&self, edge: usize, before: &'a StepId, step: &'a StepId) -> String {
        let (from, to) = (self.column[before], self.column[step]);
        let y = |item: Item<'a>| MARGIN + self.middle[&item];
        let mut at = (Self::left(from) + WIDTH, y(Item::Step(before)));
        let mut path = format!("M{} {}", at.0, at.1);
        for column in from + 1..=to {
            let item = if column == to {
                Item::Step(step)
            } else {
                Item::Passing { edge, column }
            };
            let next = (Self::left(column), y(item));
            let bend = at.0 + GAP_X / 2;
            let _ = write!(path, "C{bend} {} {bend} {} {} {}", at.1, next.1, next.0, next.1);
            if column < to {
                let _ = write!(path, "H{}", next.0 + WIDTH);
            }
            at = (next.0 + WIDTH, next.1);
        }
        path
    }
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
