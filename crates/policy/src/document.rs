//! Statements as policy documents, none longer than IAM takes.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::grant::Statement;

/// The most characters a managed policy may have, white space not counted (source: IAM quotas).
pub const LIMIT: usize = 6_144;

/// One policy document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its statements.
    pub statements: Vec<Statement>,
}

impl Document {
    /// As IAM takes it.
    pub fn json(&self) -> Value {
        let statements: Vec<Value> = self.statements.iter().map(Statement::json).collect();
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    /// How long it is to IAM.
    pub fn length(&self) -> usize {
        self.json()
            .to_string()
            .chars()
            .filter(|letter| !letter.is_whitespace())
            .count()
    }
}

impl Statement {
    /// As it stands in a document.
    pub fn json(&self) -> Value {
        let mut statement = json!({
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": one_or_all(&self.actions),
            "Resource": one_or_all(&self.resources),
        });
        let mut conditions: Map<String, Value> = Map::new();
        for condition in &self.conditions {
            let word = condition.operator.word().to_owned();
            conditions.entry(word).or_insert_with(|| json!({}))[&condition.key] =
                one_or_all(&condition.values);
        }
        if !conditions.is_empty() {
            statement["Condition"] = conditions.into();
        }
        statement
    }

    fn halves(self) -> Option<[Statement; 2]> {
        let part = |of: &BTreeSet<String>, first: bool| -> BTreeSet<String> {
            let half = of.len().div_ceil(2);
            let chosen = of.iter().enumerate().filter(|(at, _)| (*at < half) == first);
            chosen.map(|(_, text)| text.clone()).collect()
        };
        if self.resources.len() > 1 && self.resources.len() >= self.actions.len() {
            return Some([true, false].map(|first| Statement {
                resources: part(&self.resources, first),
                sid: format!("{}{}", self.sid, if first { "A" } else { "B" }),
                ..self.clone()
            }));
        }
        (self.actions.len() > 1).then(|| {
            [true, false].map(|first| Statement {
                actions: part(&self.actions, first),
                sid: format!("{}{}", self.sid, if first { "A" } else { "B" }),
                ..self.clone()
            })
        })
    }
}

fn one_or_all(texts: &BTreeSet<String>) -> Value {
    match texts.first() {
        Some(one) if texts.len() == 1 => one.as_str().into(),
        _ => texts.iter().map(String::as_str).collect(),
    }
}

/// Puts statements into as few documents as goes without looking for long, in their order.
pub(crate) fn documents(statements: &[Statement]) -> Vec<Document> {
    let mut documents: Vec<Document> = Vec::new();
    let mut left: Vec<Statement> = statements.iter().rev().cloned().collect();
    while let Some(statement) = left.pop() {
        let alone = Document {
            statements: vec![statement.clone()],
        };
        if alone.length() > LIMIT
            && let Some(halves) = statement.clone().halves()
        {
            left.extend(halves.into_iter().rev());
            continue;
        }
        let with = |document: &Document| {
            let mut document = document.clone();
            document.statements.push(statement.clone());
            document
        };
        match documents
            .iter_mut()
            .find(|document| with(document).length() <= LIMIT)
        {
            Some(document) => document.statements.push(statement),
            None => documents.push(alone),
        }
    }
    documents
}
