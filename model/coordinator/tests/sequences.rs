//! Every sequence of tests/sequences, answered by our coordinator. The same files are sent to
//! Apache Kafka elsewhere.

mod script;

use script::{World, parse, render};
use std::fs;
use std::path::PathBuf;

/// Runs all of them. `EVENKEEL_ACCEPT=1` writes our answers into the files instead; then compare
/// them with Apache Kafka's.
#[test]
fn every_sequence_is_answered_as_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sequences");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of the sequences")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let mut wrong = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("a readable sequence");
        let script = parse(&text);
        let mut world = World::new();
        let answers: Vec<Vec<String>> = script
            .blocks
            .iter()
            .map(|block| block.requests.iter().flat_map(|(_, r)| world.handle(r)).collect())
            .collect();
        let actual = render(&script, &answers);
        if actual == text {
            continue;
        }
        if std::env::var_os("EVENKEEL_ACCEPT").is_some() {
            fs::write(file, actual).expect("a writable sequence");
        } else {
            wrong.push(format!("{}:\n{actual}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "answered otherwise:\n{}", wrong.join("\n"));
    assert!(files.len() >= 60, "only {} sequences were found", files.len());
}
