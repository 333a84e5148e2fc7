//! Development aid: hunts mutants.
#![allow(clippy::print_stdout)]
use evenkeel_model::mutants::{hunt, mutants};
fn main() {
    let only = std::env::args().nth(1);
    for m in mutants() {
        if only.as_ref().is_some_and(|o| *o != m.name) {
            continue;
        }
        let t = std::time::Instant::now();
        let h = hunt(&m);
        println!(
            "{} {:35} expected {:?} got {:?} states {} {:.1}s",
            if h.is_killed(&m) { "ok  " } else { "HOLE" },
            m.name,
            m.expected,
            h.verdict,
            h.states,
            t.elapsed().as_secs_f32()
        );
        if only.is_some() {
            for a in &h.path.unwrap().actions {
                println!("   {a}");
            }
        }
    }
}
