//! Development aid: explores one slice and prints what was found.
#![allow(clippy::print_stdout)]
use evenkeel_model::bounds;
use evenkeel_model::explore::{Options, explore};
fn main() {
    let name = std::env::args().nth(1).unwrap();
    let max: usize = std::env::args().nth(2).map_or(3_000_000, |m| m.parse().unwrap());
    let mut slice = bounds::slice(&name).unwrap();
    if let Ok(n) = std::env::var("FAULTS") {
        slice.budget.faults = n.parse().unwrap();
    }
    if let Ok(n) = std::env::var("COMMITS") {
        slice.budget.commits = n.parse().unwrap();
    }
    if let Ok(k) = std::env::var("KIND") {
        use evenkeel_model::bounds::Disconnect;
        let f = &mut slice.faults;
        let old = *f;
        f.disconnect = Disconnect::Never;
        f.session = false;
        f.rebalance = false;
        f.slow = false;
        f.fail = false;
        f.crash = false;
        f.failover = false;
        f.refusals = &[];
        for k in k.split(',') {
            match k {
                "disconnect" => f.disconnect = old.disconnect,
                "session" => f.session = true,
                "rebalance" => f.rebalance = true,
                "crash" => f.crash = true,
                "failover" => f.failover = true,
                _ => panic!(),
            }
        }
    }
    if let Ok(n) = std::env::var("RECORDS") {
        slice.records = n.parse().unwrap();
    }
    let t = std::time::Instant::now();
    let e = explore(&slice, Options { states_max: max, ..Options::default() });
    println!("{:?} {:.1}s", e.summary(), t.elapsed().as_secs_f32());
    println!("unreached: {:?}", e.unreached().collect::<Vec<_>>());
    for (rule, path) in e.violations(&slice).unwrap() {
        println!("== {rule}: {:?}", path.states.last().unwrap().violation.unwrap().to_string());
        for a in &path.actions {
            println!("   {a}");
        }
    }
    match e.settle(&slice) {
        Ok(s) => println!("settles: {s:?}"),
        Err(err) => {
            println!("settle: {err}");
            if let evenkeel_model::explore::LivenessError::Diverges(d) = err {
                println!("stem {} total {}", d.lasso.stem, d.lasso.path.actions.len());
                for a in &d.lasso.path.actions {
                    println!("   {a}");
                }
                println!("{:#?}", d.lasso.path.states.last().unwrap());
            }
        }
    }
    match e.converges_fairly(&slice) {
        Ok(n) => println!("fair ok {n}"),
        Err(e) => {
            println!("fair: {e}");
            if let evenkeel_model::explore::LivenessError::Diverges(d) = e {
                println!("stem {}", d.lasso.stem);
                for a in &d.lasso.path.actions {
                    println!("   {a}");
                }
            }
        }
    }
    match e.always_convergeable(&slice) {
        Ok(n) => println!("AG EF ok {n}"),
        Err(e) => println!("AG EF: {e}"),
    }
}
