//! The tables of `spec/snapshot`: every state of a machine with every input that has an effect.
//!
//! An input that the machine's owner never gives in a state is refused there by an assertion: the
//! table shows its sentence.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is given to a machine; says what it orders.
pub(crate) type Input<M> = fn(&mut M) -> Vec<String>;

/// The table of one machine; `stands` tells a state in few words.
pub(crate) fn table<M: Clone>(
    states: &[(&str, M)],
    inputs: &[(&str, Input<M>)],
    stands: impl Fn(&M) -> String,
) -> String {
    let width = inputs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut table = String::new();
    for (state, machine) in states {
        writeln!(table, "## {state}: {}", stands(machine)).expect("text");
        let mut never = BTreeMap::<String, Vec<&str>>::new();
        for (name, input) in inputs {
            let mut after = machine.clone();
            let row = match catch_unwind(AssertUnwindSafe(|| input(&mut after))) {
                Ok(orders) if orders.is_empty() && stands(&after) == stands(machine) => continue,
                Ok(orders) if orders.is_empty() => stands(&after),
                Ok(orders) => format!("{}: {}", stands(&after), orders.join(", ")),
                Err(panic) => {
                    never.entry(sentence(panic.as_ref())).or_default().push(name);
                    continue;
                }
            };
            writeln!(table, "{name:<width$}  {row}").expect("text");
        }
        for (sentence, names) in never {
            writeln!(table, "never ({sentence}): {}", names.join("; ")).expect("text");
        }
        table.push('\n');
    }
    table.trim_end().to_owned()
}

/// Compares with the snapshot of this name.
pub(crate) fn check(name: &str, table: &str) {
    insta::with_settings!({
        snapshot_path => "../../../spec/snapshot",
        prepend_module_to_snapshot => false,
        omit_expression => true,
        description => "Each state with each input that has an effect: where it leads, and what is ordered.",
    }, { insta::assert_snapshot!(name, table) });
}

fn sentence(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    let text = text.lines().next().unwrap_or_default();
    let starts =
        ["internal error: entered unreachable code: ", "assertion `left == right` failed: "];
    let plain = starts.iter().find_map(|start| text.strip_prefix(start));
    plain.unwrap_or(text).to_owned()
}
