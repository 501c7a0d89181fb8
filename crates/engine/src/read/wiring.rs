//! Which step waits for which, and in what order they stand: references become edges.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::rc::Rc;

use indexmap::IndexMap;
use landfall_model::wanted::{Wanted, WantedStep};
use landfall_model::yaml::Node;
use landfall_model::{Diagnostic, Diagnostics, Span, StepId};

use super::Use;
use crate::expression::{Checker, Compiler, Names};
use crate::types::Type;

/// The steps a value comes from, or the circle of names it goes round in.
type Sources = Result<Rc<BTreeSet<StepId>>, Vec<String>>;

/// A value of a component: whose, which way, and its name.
type Crossing = (String, Direction, String);

/// Which way a value crosses a component's wall.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Direction {
    Input,
    Output,
}

/// Follows references through inputs and outputs to the steps behind them.
pub(crate) struct Wiring<'a> {
    wanted: &'a Wanted,
    uses: &'a IndexMap<String, Use>,
    compiler: &'a Compiler,
    /// Any reference is fine here: all have been checked.
    names: Names,
    /// Sources by component, direction and name; `None` while they are being followed.
    known: HashMap<Crossing, Option<Rc<BTreeSet<StepId>>>>,
    path: Vec<String>,
}

impl<'a> Wiring<'a> {
    pub(crate) fn new(
        wanted: &'a Wanted,
        uses: &'a IndexMap<String, Use>,
        compiler: &'a Compiler,
    ) -> Wiring<'a> {
        let names = Names::from([("components", Type::Any), ("platform", Type::Any)]);
        Wiring {
            wanted,
            uses,
            compiler,
            names,
            known: HashMap::new(),
            path: Vec::new(),
        }
    }

    /// Wires the steps and puts each after all it waits for, otherwise in the order of the file.
    pub(crate) fn order(
        &mut self,
        mut steps: Vec<(WantedStep, Span)>,
    ) -> Result<Vec<WantedStep>, Diagnostics> {
        let ids: HashMap<StepId, usize> = steps
            .iter()
            .enumerate()
            .map(|(index, (step, _))| (step.id.clone(), index))
            .collect();
        let mut of_component: HashMap<&str, Vec<StepId>> = HashMap::new();
        for (step, _) in &steps {
            let component = self
                .uses
                .get_key_value(step.id.component())
                .map_or("", |(name, _)| name.as_str());
            of_component.entry(component).or_default().push(step.id.clone());
        }
        let mut found = Diagnostics::default();
        for (step, span) in &mut steps {
            match self.step(step) {
                Ok(mut after) => {
                    let others = self
                        .uses
                        .get(step.id.component())
                        .map(|used| used.after.as_slice());
                    for (other, _) in others.unwrap_or_default() {
                        after.extend(of_component.get(other.as_str()).into_iter().flatten().cloned());
                    }
                    // What was left out by `when` is not waited for.
                    after.retain(|id| ids.contains_key(id));
                    step.after = after.into_iter().collect();
                }
                Err(circle) => found.push(
                    Diagnostic::error(
                        format!("values go round in a circle: {}", circle.join(" -> ")),
                        span.clone(),
                        "this step waits for a value of that circle",
                    )
                    .help("let one of them take its value from somewhere else"),
                ),
            }
        }
        if found.has_errors() {
            return Err(found);
        }
        self.sort(steps, &ids)
    }

    fn sort(
        &self,
        steps: Vec<(WantedStep, Span)>,
        ids: &HashMap<StepId, usize>,
    ) -> Result<Vec<WantedStep>, Diagnostics> {
        let mut waiting: Vec<usize> = steps.iter().map(|(step, _)| step.after.len()).collect();
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
        for (index, (step, _)) in steps.iter().enumerate() {
            for id in &step.after {
                followers[ids[id]].push(index);
            }
        }
        let mut ready: BinaryHeap<Reverse<usize>> = (0..steps.len())
            .filter(|index| waiting[*index] == 0)
            .map(Reverse)
            .collect();
        let mut order = Vec::with_capacity(steps.len());
        while let Some(Reverse(index)) = ready.pop() {
            order.push(index);
            for follower in &followers[index] {
                waiting[*follower] -= 1;
                if waiting[*follower] == 0 {
                    ready.push(Reverse(*follower));
                }
            }
        }
        if order.len() < steps.len() {
            return Err(Diagnostics(vec![self.cycle(&steps, ids, &waiting)]));
        }
        let mut slots: Vec<Option<WantedStep>> = steps.into_iter().map(|(step, _)| Some(step)).collect();
        Ok(order
            .into_iter()
            .filter_map(|index| slots[index].take())
            .collect())
    }

    fn cycle(
        &self,
        steps: &[(WantedStep, Span)],
        ids: &HashMap<StepId, usize>,
        waiting: &[usize],
    ) -> Diagnostic {
        // Every step still waiting waits for another such step: walking back must come round.
        let mut walk: Vec<usize> = Vec::new();
        let mut at = waiting
            .iter()
            .position(|left| *left > 0)
            .expect("a sort that fell short left steps waiting");
        while !walk.contains(&at) {
            walk.push(at);
            at = steps[at]
                .0
                .after
                .iter()
                .map(|id| ids[id])
                .find(|index| waiting[*index] > 0)
                .expect("a step still waits for a step that still waits");
        }
        let start = walk.iter().position(|index| *index == at).unwrap_or(0);
        let mut circle: Vec<usize> = walk[start..].to_vec();
        circle.push(at);
        let names: Vec<String> = circle
            .iter()
            .map(|index| format!("`{}`", steps[*index].0.id))
            .collect();
        let used = |index: usize| {
            self.uses
                .get(steps[index].0.id.component())
                .map(|used| used.name_span.clone())
        };
        let mut spans: Vec<Span> = Vec::new();
        for index in &circle {
            let own = steps[*index].1.clone();
            let span = if self.same_component(steps, &circle) {
                own
            } else {
                used(*index).unwrap_or(own)
            };
            if !spans.contains(&span) {
                spans.push(span);
            }
        }
        let mut spans = spans.into_iter();
        let first = spans.next().expect("a circle has a step");
        let diagnostic = Diagnostic::error(
            format!(
                "steps wait for each other in a circle: {}",
                names.join(" waits for ")
            ),
            first,
            "part of the circle",
        );
        spans
            .fold(diagnostic, |diagnostic, span| {
                diagnostic.and(span, "part of the circle")
            })
            .help("remove one of these references or `after` entries")
    }

    fn same_component(&self, steps: &[(WantedStep, Span)], circle: &[usize]) -> bool {
        circle
            .windows(2)
            .all(|pair| steps[pair[0]].0.id.component() == steps[pair[1]].0.id.component())
    }

    fn step(&mut self, step: &WantedStep) -> Result<BTreeSet<StepId>, Vec<String>> {
        let component = step.id.component().to_owned();
        let Some(definition) = self.uses.get(&component).and_then(|used| used.definition.clone()) else {
            return Ok(BTreeSet::new());
        };
        let Some(defined) = definition.steps.iter().find(|one| one.name == step.id.step()) else {
            return Ok(BTreeSet::new());
        };
        let mut sources: BTreeSet<StepId> = defined
            .after
            .iter()
            .map(|name| StepId::new(&component, name))
            .collect();
        self.follow(&component, &defined.references, &mut sources)?;
        let large = step.template.as_ref().is_some_and(|template| template.large);
        if large && let Some(bucket) = &self.wanted.artifact_bucket {
            let references = self.references(bucket);
            self.follow_platform(&references, &mut sources)?;
        }
        Ok(sources)
    }

    /// References of a definition: to its own inputs and steps.
    fn follow(
        &mut self,
        component: &str,
        references: &BTreeSet<Vec<String>>,
        sources: &mut BTreeSet<StepId>,
    ) -> Result<(), Vec<String>> {
        for path in references {
            match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["steps", step, ..] => {
                    sources.insert(StepId::new(component, step));
                }
                ["inputs", input, ..] => {
                    let input = self.input(component, input)?;
                    sources.extend(input.iter().cloned());
                }
                ["inputs"] => {
                    let names: Vec<String> =
                        self.wanted.components[component].inputs.keys().cloned().collect();
                    for name in names {
                        let input = self.input(component, &name)?;
                        sources.extend(input.iter().cloned());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// References of the platform file: to outputs of components.
    fn follow_platform(
        &mut self,
        references: &BTreeSet<Vec<String>>,
        sources: &mut BTreeSet<StepId>,
    ) -> Result<(), Vec<String>> {
        for path in references {
            match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["components", component, output, ..] => {
                    let output = self.output(component, output)?;
                    sources.extend(output.iter().cloned());
                }
                ["components", component] => self.all_outputs(component, sources)?,
                ["components"] => {
                    for component in self.wanted.components.keys() {
                        self.all_outputs(component, sources)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn all_outputs(&mut self, component: &str, sources: &mut BTreeSet<StepId>) -> Result<(), Vec<String>> {
        let outputs: Vec<String> = self
            .wanted
            .components
            .get(component)
            .into_iter()
            .flat_map(|one| one.outputs.keys().cloned())
            .collect();
        for output in outputs {
            let output = self.output(component, &output)?;
            sources.extend(output.iter().cloned());
        }
        Ok(())
    }

    fn input(&mut self, component: &str, input: &str) -> Sources {
        self.once(component, Direction::Input, input, |wiring, sources| {
            let node = wiring
                .uses
                .get(component)
                .and_then(|used| used.node.at(["with", input]));
            let Some(node) = node.cloned() else { return Ok(()) };
            let references = wiring.references_of(&node);
            wiring.follow_platform(&references, sources)
        })
    }

    fn output(&mut self, component: &str, output: &str) -> Sources {
        self.once(component, Direction::Output, output, |wiring, sources| {
            let definition = wiring
                .uses
                .get(component)
                .and_then(|used| used.definition.clone());
            let Some(references) = definition
                .as_ref()
                .and_then(|definition| definition.outputs.get(output))
            else {
                return Ok(());
            };
            wiring.follow(component, &references.references, sources)
        })
    }

    fn once(
        &mut self,
        component: &str,
        direction: Direction,
        name: &str,
        find: impl FnOnce(&mut Self, &mut BTreeSet<StepId>) -> Result<(), Vec<String>>,
    ) -> Sources {
        let key = (component.to_owned(), direction, name.to_owned());
        let called = format!("{component}.{name}");
        match self.known.get(&key) {
            Some(Some(sources)) => return Ok(sources.clone()),
            Some(None) => {
                let start = self.path.iter().position(|one| *one == called).unwrap_or(0);
                let mut circle = self.path[start..].to_vec();
                circle.push(called);
                return Err(circle);
            }
            None => {}
        }
        self.known.insert(key.clone(), None);
        self.path.push(called);
        let mut sources = BTreeSet::new();
        find(self, &mut sources)?;
        self.path.pop();
        let sources = Rc::new(sources);
        self.known.insert(key, Some(sources.clone()));
        Ok(sources)
    }

    fn references_of(&self, node: &Node) -> BTreeSet<Vec<String>> {
        let mut checker = Checker::new(self.compiler, &self.names);
        checker.tree(node);
        checker.references
    }

    fn references(&self, text: &str) -> BTreeSet<Vec<String>> {
        let mut checker = Checker::new(self.compiler, &self.names);
        let file = landfall_model::SourceFile::new("", text);
        checker.text(
            text,
            &Span {
                range: 0..text.len(),
                file,
            },
        );
        checker.references
    }
}
