//! scratch
use evenkeel_model::explore::{Options, check_renaming, explore};
use evenkeel_model::requests;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[test]
fn scratch() {
    for slice in requests::slices() {
        let started = std::time::Instant::now();
        let options = Options { states_max: 400_000, ..Options::default() };
        let exploration = explore(&slice, options);
        println!("{} {:?} {:?}", slice.name, exploration.summary(), started.elapsed());
        for (rule, path) in exploration.violations(&slice).unwrap() {
            let line: Vec<_> = path.actions.iter().map(ToString::to_string).collect();
            println!("{rule}: {}", line.join(", "));
            println!("   {:?}\n   {:?}", path.last_state().desk, path.last_state().seen);
        }
        println!("unreached {:?}", exploration.unreached().collect::<Vec<_>>());
        if exploration.summary().exhausted() {
            match exploration.settle(&slice) {
                Err(error) => {
                    println!("settle {error}");
                    if let evenkeel_model::explore::LivenessError::Diverges(d) = error {
                        let line: Vec<_> = d.lasso.path.actions.iter().map(ToString::to_string).collect();
                        println!("{}\n {:?}", line.join(", "), d.lasso.path.last_state());
                    }
                }
                Ok(s) => println!("settles {s:?}"),
            }
        }
        println!("{:?}", check_renaming(&slice, 5000).map_err(|e| e.to_string()));
    }
}
