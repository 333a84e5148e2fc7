//! `evenkeel check`: explores slices exhaustively and, asked to, lets every known fault be found.

mod any;
mod cross;
mod examine;
mod hunt;

use super::output::{Table, grouped, print, print_json};
use super::{Failure, Format, Outcome};
pub(super) use any::{AnySlice, Told};
use cross::{Crossed, cross};
pub(super) use examine::{Examined, examine};
use hunt::{Hunt, all_seeded, hunt};
use serde::Serialize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Explore small worlds exhaustively and judge every transition by the protocol's rules.
///
/// A slice is a small world: one or two of the shipped members and the shipped coordinator, or the
/// requests of one consumer and its broker, or the background's loop; and an adversary that may
/// delay, lose, fence, throttle and crash within a budget. Of each, every reachable state is visited. Asked are: is every step permitted by the rules? Does the fair schedule lead every
/// state to rest (settles)? Can every state come to rest at all (AG EF)? Is there no fair run that
/// never does (fair)? Was everything reached that shows the slice is not empty of meaning?
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The slices to explore; all of them when none is named.
    #[arg(value_name = "SLICE")]
    slices: Vec<String>,
    /// Also seed every known fault of these slices: each must be found by the rule named for it.
    #[arg(long)]
    mutants: bool,
    /// Also explore with stateright's own checker, which must count the same states.
    #[arg(long)]
    stateright: bool,
    /// How many faults may happen on one path, instead of each slice's own bound. Two members with
    /// two faults are six million states: minutes, and gigabytes. Below a slice's own bound nothing is
    /// asked to be reached. Seeded faults have worlds, and bounds, of their own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=3))]
    #[arg(conflicts_with = "mutants")]
    faults: Option<u8>,
}

/// What `check` prints as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    slices: Vec<Examined>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutants: Option<Vec<Hunt>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stateright: Option<Vec<Crossed>>,
}

impl Report {
    pub(super) fn of_slices(slices: Vec<Examined>) -> Self {
        Self { slices, mutants: None, stateright: None }
    }

    pub(super) fn slices(&self) -> &[Examined] {
        &self.slices
    }

    /// Whether every slice holds and every fault was found as named.
    pub(super) fn holds(&self) -> bool {
        let mutants = self.mutants.as_deref().unwrap_or_default();
        let crossed = self.stateright.as_deref().unwrap_or_default();
        self.slices.iter().all(Examined::holds)
            && mutants.iter().all(|hunt| hunt.killed)
            && crossed.iter().all(|slice| slice.agrees)
    }

    /// The tables, and the path of everything that was found.
    pub(super) fn text(&self) -> String {
        let mut text = slice_table(&self.slices);
        for slice in &self.slices {
            for line in slice.stories() {
                text.push_str(line);
                text.push('\n');
            }
        }
        if let Some(mutants) = &self.mutants {
            text.push('\n');
            text.push_str(&mutant_table(mutants));
        }
        if let Some(crossed) = &self.stateright {
            text.push('\n');
            text.push_str(&cross::table(crossed));
        }
        text
    }
}

pub(super) fn run(args: &Args, format: Format) -> Result<Outcome, Failure> {
    let mut slices = AnySlice::named(&args.slices)?;
    if let Some(faults) = args.faults {
        slices.iter_mut().for_each(|slice| slice.limit_faults(faults));
    }
    if args.mutants {
        all_seeded(&slices, &args.slices)?;
    }
    let examined = examine(&slices, &[]);
    let mutants = args.mutants.then(|| hunt(&slices));
    let stateright = args.stateright.then(|| cross(&slices));
    let report = Report { slices: examined, mutants, stateright };
    match format {
        Format::Human => print(&report.text())?,
        Format::Json => print_json(&report)?,
    }
    Ok(Outcome::of(report.holds()))
}

fn slice_table(slices: &[Examined]) -> String {
    let head = [
        "slice",
        "states",
        "transitions",
        "depth",
        "M/s",
        "seconds",
        "rules",
        "settles",
        "AG EF",
        "fair",
        "reached",
    ];
    let mut table = Table::new(&head, &[6, 7, 8, 9, 10]);
    let verdict = |holds: bool| if holds { "hold" } else { "BROKEN" }.to_owned();
    let yes = |holds: bool| if holds { "yes" } else { "NO" }.to_owned();
    for slice in slices {
        let rules =
            if slice.exhausted { verdict(slice.violations.is_empty()) } else { "NOT ALL".into() };
        let missing = slice.unreached.len();
        table.row(vec![
            slice.name.to_owned(),
            grouped(slice.unique_states),
            grouped(slice.transitions),
            slice.depth.to_string(),
            format!("{:.2}", slice.transitions_per_second / 1e6),
            format!("{:.1}", slice.seconds),
            rules,
            yes(slice.settles),
            yes(slice.always_can_settle),
            yes(slice.converges_fairly),
            match (slice.asked, missing) {
                (0, _) => "-".into(),
                (_, 0) => "all".into(),
                (_, missing) => format!("{missing} NOT"),
            },
        ]);
    }
    table.text()
}

fn mutant_table(mutants: &[Hunt]) -> String {
    let mut table =
        Table::new(&["mutant", "slice", "must break", "found", "steps", "source"], &[1, 2, 3, 5]);
    for hunt in mutants {
        table.row(vec![
            hunt.name.clone(),
            hunt.slice.to_owned(),
            hunt.rule.clone(),
            if hunt.killed { "killed".into() } else { format!("NOT: {}", hunt.found) },
            hunt.steps.to_string(),
            hunt.source.to_owned(),
        ]);
    }
    let killed = mutants.iter().filter(|hunt| hunt.killed).count();
    format!("{}{killed} of {} killed as named\n", table.text(), mutants.len())
}

/// Does `work` for each item on up to two threads; the results keep the order of the items. Each
/// item is worked on by one thread, so that what is deterministic stays so.
fn on_two_threads<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(items.len()));
    let run = || {
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(item) = items.get(at)
        {
            let result = work(item);
            done.lock().expect("no other thread has panicked").push((at, result));
        }
    };
    std::thread::scope(|scope| {
        let other = (items.len() > 1).then(|| scope.spawn(run));
        run();
        if let Some(Err(panic)) = other.map(std::thread::ScopedJoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    });
    let mut done = done.into_inner().expect("no thread has panicked");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

const EXAMPLES: &str = "\
Examples:
  evenkeel check                             every slice
  evenkeel check one-member two-members      these
  evenkeel check --mutants                   and every seeded fault
  evenkeel check one-member --stateright     and by another checker
  evenkeel check two-members --faults 2      a larger world
  evenkeel check --format json | jq '.slices[] | {name, unique_states}'

A violation is told by its shortest path, one action a line with the world after it: who is granted
what at which member epoch, and what the applications hold; or which requests are where.";

#[cfg(test)]
mod tests {
    use super::on_two_threads;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<u32> = (0..100).collect();
        let doubled = on_two_threads(&items, |item| item * 2);
        assert_eq!(doubled, (0..100).map(|item| item * 2).collect::<Vec<_>>());
    }
}
