//! `evenkeel questions`: the design questions, each with its verdict, figures, trace and curve.

mod curve;

use super::output::{bar, print, print_json};
use super::{Failure, Format, Outcome};
use evenkeel_harness::questions::{Answer, Order, QUESTIONS, Question};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Answer the questions of the threading model by running what is shipped.
///
/// Figures come from the shipped machines in virtual time, so they are the same on every machine;
/// rules and traces come from the model. spec/questions has the answers as of the last change.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The questions; all of them when none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only say which questions there are.
    #[arg(long)]
    list: bool,
    /// Also write the figures that are a curve into this directory, as NAME.svg.
    #[arg(long, visible_alias = "out", value_name = "DIR")]
    svg: Option<PathBuf>,
}

/// What `questions` prints as JSON.
#[derive(Debug, Serialize)]
struct Report {
    questions: Vec<Answer>,
}

#[derive(Debug, Serialize)]
struct Listed {
    questions: Vec<Name>,
}

#[derive(Debug, Serialize)]
struct Name {
    name: &'static str,
    asked: &'static str,
}

pub(super) fn run(args: &Args, format: Format) -> Result<Outcome, Failure> {
    let questions = named(&args.names)?;
    if args.list {
        list(&questions, format)?;
        return Ok(Outcome::Holds);
    }
    if let Some(directory) = &args.svg {
        std::fs::create_dir_all(directory).map_err(|error| refused(directory, &error))?;
    }
    let bar = bar(questions.len() as u64, "questions");
    let mut answers = Vec::new();
    for question in questions {
        bar.set_message(question.name);
        let answer = question.answer(Order::Lanes);
        if let (Some(directory), Some(curve)) = (&args.svg, &answer.curve) {
            let path = directory.join(format!("{}.svg", answer.name));
            let svg = curve::svg(answer.asked, curve).map_err(Failure::World)?;
            std::fs::write(&path, svg).map_err(|error| refused(&path, &error))?;
        }
        bar.inc(1);
        answers.push(answer);
    }
    bar.finish_and_clear();
    match format {
        Format::Human => {
            let texts: Vec<_> = answers.iter().map(Answer::text).collect();
            print(&texts.join("\n"))?;
        }
        Format::Json => print_json(&Report { questions: answers })?,
    }
    Ok(Outcome::Holds)
}

fn list(questions: &[Question], format: Format) -> Result<(), Failure> {
    let name = |question: &Question| Name { name: question.name, asked: question.asked };
    let questions: Vec<_> = questions.iter().map(name).collect();
    match format {
        Format::Human => {
            let line = |Name { name, asked }: &Name| format!("{name:<18}{asked}\n");
            print(&questions.iter().map(line).collect::<String>())
        }
        Format::Json => print_json(&Listed { questions }),
    }
}

/// The questions of these names, in the order given; all of them when none is named.
fn named(names: &[String]) -> Result<Vec<Question>, Failure> {
    if names.is_empty() {
        return Ok(QUESTIONS.to_vec());
    }
    let named = |name: &String| {
        Question::named(name).ok_or_else(|| {
            let known: Vec<_> = QUESTIONS.iter().map(|question| question.name).collect();
            let known = known.join(", ");
            Failure::Usage(format!("there is no question {name:?}; there are {known}"))
        })
    };
    names.iter().map(named).collect()
}

fn refused(path: &Path, error: &std::io::Error) -> Failure {
    Failure::World(format!("{}: {error}", path.display()))
}

const EXAMPLES: &str = "\
Examples:
  evenkeel questions                       all of them
  evenkeel questions lanes --svg plots     one, and its curve as plots/lanes.svg
  evenkeel questions --list

JSON: {\"questions\":[{\"name\",\"asked\",\"verdict\",\"world\",\"figures\":{ALTERNATIVE:{FIGURE:value}},\"seed\",
\"traces\":[{\"of\",\"steps\"}]}]}; traces only where the model decides.";
