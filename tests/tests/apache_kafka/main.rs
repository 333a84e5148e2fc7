//! The meetings with Apache Kafka and with other people's clients.
//!
//! What they need is fetched by its own package manager. Where a tool for that is missing, a test
//! is reported as ignored with the reason; under `CI=true` it fails.

mod assign;
mod broker;
mod cluster;
mod differential;
mod edges;
mod evenkeel_member;
mod generated;
mod group;
mod meeting;
mod pattern;
mod refusals;
#[allow(unexpected_cfgs)] // The features are those of the crate whose test it is.
#[path = "../../../model/coordinator/tests/script/mod.rs"]
mod script;
mod shard;
mod three_nodes;
mod unclean;

use evenkeel_tests::kafka::{Builder, Kafka};
use evenkeel_tests::setup::{self, SetupError};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

/// What a test says when it could not do its work.
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The one cluster that all tests share, each with topics and groups of its own.
#[derive(Default)]
struct Peers {
    kafka: OnceLock<Result<Kafka, SetupError>>,
}

impl Peers {
    fn kafka(&self) -> Result<&Kafka, SetupError> {
        let start = || cluster_for_sequences().start();
        self.kafka.get_or_init(start).as_ref().map_err(Clone::clone)
    }
}

/// One node, which computes a target assignment with each group epoch, at once, on the request's own
/// thread, and takes four members a group: what our coordinator's sequences are written for.
/// Sessions are long: only what a test waits for may end one, however busy the machine is.
fn cluster_for_sequences() -> Builder {
    Kafka::builder()
        .set("group.consumer.assignment.interval.ms", "0")
        .set("group.consumer.assignor.offload.enable", "false")
        .set("group.consumer.session.timeout.ms", "45000")
        .set("group.consumer.max.size", "4")
}

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // Each test is some JVMs, and waits for most of its time; more of them at a time only slow each
    // other down.
    args.test_threads.get_or_insert(THREADS);
    let peers = Arc::new(Peers::default());
    let trials = TESTS.iter().map(|(name, test)| trial(name, *test, Arc::clone(&peers))).collect();
    libtest_mimic::run(&args, trials).exit_code()
}

type Test = fn(&Peers) -> Outcome;

/// Those that take longest first, so that none of them ends alone; the third cluster of three nodes
/// when the first two are done, or nearly.
const TESTS: &[(&str, Test)] = &[
    ("a_group_on_three_nodes_loses_nothing_while_everything_moves", cluster::everything_moves),
    (
        "three_nodes_see_one_connection_each_no_needless_lookup_no_fence_and_a_close_in_time",
        three_nodes::promises,
    ),
    ("apache_kafka_answers_our_coordinators_sequences_as_written", differential::sequences),
    (
        "apache_kafka_started_again_answers_our_coordinators_failovers_as_written",
        differential::failovers,
    ),
    ("apache_kafka_and_our_coordinator_answer_the_models_edges_alike", generated::edges),
    (
        "an_unclean_election_on_apache_kafka_is_noticed_and_read_on_where_the_logs_differ",
        unclean::election,
    ),
    (
        "a_broker_without_the_consumer_protocol_is_named_with_what_to_enable",
        refusals::without_consumer_protocol,
    ),
    ("a_group_that_apache_kafka_forbids_is_told_with_what_to_do", refusals::forbidden_groups),
    (
        "an_assignment_on_apache_kafka_needs_no_coordinator_and_commits_without_a_member",
        assign::on_kafka,
    ),
    ("a_pattern_on_apache_kafka_finds_topics_late_and_a_group_is_described", pattern::on_kafka),
    ("kafkas_consumer_reads_what_kafkas_producer_wrote", group::kafka_alone),
    ("evenkeel_reads_what_kafkas_producer_wrote", evenkeel_member::alone),
    ("evenkeel_java_librdkafka_2_16_0_and_franz_go_1_22_2_on_kafka", evenkeel_member::on_kafka),
    (
        "evenkeel_java_librdkafka_2_16_0_and_franz_go_1_22_2_on_our_broker",
        evenkeel_member::on_broker,
    ),
    ("librdkafka_and_franz_go_share_a_group_with_kafkas_consumer", group::foreign_members),
];

fn trial(name: &str, test: Test, peers: Arc<Peers>) -> Trial {
    Trial::ignorable_test(name, move || {
        test(&peers).map(|()| Completion::Completed).or_else(|error| {
            match error.downcast_ref::<SetupError>() {
                Some(missing @ SetupError::Missing { .. }) if !setup::is_ci() => {
                    Ok(Completion::ignored_with(missing))
                }
                _ => Err(Failed::from(error.to_string())),
            }
        })
    })
}

const THREADS: usize = 3;
