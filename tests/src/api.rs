//! What the client offers that waits, read from its sources: so that no table of calls in a test
//! can lack one that was added since.
//!
//! Decides what counts: a public method of any type that is `async`, or whose result is one of the
//! client's own futures or streams. What the documentation hides is not offered.

use crate::workspace;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use syn::{
    Attribute, GenericArgument, ImplItem, ImplItemFn, Item, ItemImpl, PathArguments, ReturnType,
    Type, Visibility,
};

/// The methods that wait, each with the name of the error that it can end with; `Consumer`'s by
/// their names alone, others as `Type::method`.
///
/// # Panics
/// Where the client's sources cannot be read.
#[must_use]
pub fn waiting_calls() -> BTreeMap<String, Option<String>> {
    let mut impls = Vec::new();
    read(&workspace::root().join("client/src"), &mut impls);
    let futures: BTreeMap<_, _> = impls.iter().filter_map(future).collect();
    let mut calls = BTreeMap::new();
    for block in impls.iter().filter(|block| block.trait_.is_none()) {
        let of = names(&block.self_ty).into_iter().next().unwrap_or_default();
        for item in &block.items {
            if let ImplItem::Fn(method) = item
                && let Some(error) = waits(method, &futures)
            {
                let name = method.sig.ident.to_string();
                let name = if of == "Consumer" { name } else { format!("{of}::{name}") };
                calls.insert(name, error);
            }
        }
    }
    calls
}

/// The names among these that are none of the API's, and those of the API that are not among them:
/// for a table that is to have each of them.
#[must_use]
pub fn mismatch<'a>(table: impl IntoIterator<Item = &'a str>) -> (Vec<String>, Vec<String>) {
    let table: BTreeSet<_> = table.into_iter().map(str::to_owned).collect();
    let offered: BTreeSet<_> = waiting_calls().into_keys().collect();
    let without = |a: &BTreeSet<String>, b| a.difference(b).cloned().collect();
    (without(&table, &offered), without(&offered, &table))
}

fn read(folder: &Path, impls: &mut Vec<ItemImpl>) {
    let entries = std::fs::read_dir(folder).expect("the client's sources are there");
    for entry in entries {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            read(&path, impls);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("it can be read");
            let file = syn::parse_file(&text).expect("it compiles");
            impls.extend(file.items.into_iter().filter_map(|item| match item {
                Item::Impl(block) => Some(block),
                _ => None,
            }));
        }
    }
}

/// A type that is a future or a stream, and the error that it ends with.
fn future(block: &ItemImpl) -> Option<(String, Option<String>)> {
    let (path, _) = block.trait_.as_ref()?;
    let of = path.segments.last()?.ident.to_string();
    let awaited = match of.as_str() {
        "Future" => "Output",
        "Stream" => "Item",
        _ => return None,
    };
    let output = block.items.iter().find_map(|item| match item {
        ImplItem::Type(output) if output.ident == awaited => Some(&output.ty),
        _ => None,
    })?;
    let name = names(&block.self_ty).into_iter().next()?;
    Some((name, error(names(output))))
}

/// `None`: it does not wait, or is not offered.
fn waits(
    method: &ImplItemFn,
    futures: &BTreeMap<String, Option<String>>,
) -> Option<Option<String>> {
    if !matches!(method.vis, Visibility::Public(_)) || method.attrs.iter().any(hides) {
        return None;
    }
    let named = match &method.sig.output {
        ReturnType::Default => Vec::new(),
        ReturnType::Type(_, output) => names(output),
    };
    let future = named.iter().find_map(|name| futures.get(name));
    match (method.sig.asyncness.is_some(), future) {
        (true, _) => Some(error(named)),
        (false, Some(failure)) => Some(failure.clone()),
        (false, None) => None,
    }
}

fn hides(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc")
        && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "hidden")
}

fn error(named: Vec<String>) -> Option<String> {
    named.into_iter().find(|name| name.ends_with("Error"))
}

/// The names of the types that a type is made of, the outermost first.
fn names(of: &Type) -> Vec<String> {
    let mut named = Vec::new();
    if let Type::Path(path) = of {
        for segment in &path.path.segments {
            named.push(segment.ident.to_string());
            if let PathArguments::AngleBracketed(within) = &segment.arguments {
                for argument in &within.args {
                    if let GenericArgument::Type(inner) = argument {
                        named.extend(names(inner));
                    }
                }
            }
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::waiting_calls;

    #[test]
    fn what_waits_is_found_with_its_error_and_what_does_not_or_is_hidden_is_not() {
        let calls = waiting_calls();
        for (name, error) in [
            ("poll", Some("PollError")),
            ("close", None),
            ("commit_async", Some("CommitError")),
            ("records", Some("PollError")),
            ("RecordStream::next", Some("PollError")),
            ("Committer::commit", Some("CommitError")),
            ("Observer::describe_group", Some("LookupError")),
            ("RebalanceContext::seek", Some("PositionError")),
        ] {
            assert_eq!(calls.get(name), Some(&error.map(str::to_owned)), "{name} in {calls:?}");
        }
        for name in ["assignment", "builder", "Committer::touch", "commit_within", "lifecycle"] {
            assert!(!calls.contains_key(name), "{name} in {calls:?}");
        }
    }
}
