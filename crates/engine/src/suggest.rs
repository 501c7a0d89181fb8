//! "Did you mean": the nearest of the names there are.

/// The name among `names` that `wrong` was probably meant to be.
pub(crate) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| {
            let apart = strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase());
            (apart, name)
        })
        .filter(|(apart, name)| *apart <= 1.max(name.len().max(wrong.len()) / 3))
        .min_by_key(|(apart, name)| (*apart, name.len()))
        .map(|(_, name)| name)
}

/// "did you mean `x`?", or the names there are.
pub(crate) fn help<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>, plural: &str) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    if let Some(name) = nearest(wrong, names.iter().copied()) {
        return format!("did you mean `{name}`?");
    }
    match names.as_slice() {
        [] => format!("there are no {plural} here"),
        names if names.len() <= 12 => {
            let list: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("the {plural} are {}", list.join(", "))
        }
        names => format!("there are {} {plural}; none has a name like this", names.len()),
    }
}
