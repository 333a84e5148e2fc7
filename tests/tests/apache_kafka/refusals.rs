//! Apache Kafka refuses a group: the error says what to do, and nobody asks in a loop.

use crate::Outcome;
use evenkeel::{Consumer, ErrorCode, PollError};
use evenkeel_tests::kafka::Kafka;
use evenkeel_tests::wire::{Wire, WireError};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::{CreateAclsRequest, GroupId, JoinGroupRequest};
use kafka_protocol::protocol::StrBytes;
use std::time::{Duration, Instant};

/// The consumer protocol is off.
pub(crate) fn without_consumer_protocol(_: &crate::Peers) -> Outcome {
    let builder = Kafka::builder().set("group.coordinator.rebalance.protocols", "classic");
    let kafka = builder.start()?;
    let address = kafka.address(1);
    Wire::connect(&address)?.create_topic("t", 1)?;
    let seen = poll(&address, "g")?;
    seen.assert(ErrorCode::UnsupportedVersion, "enable the consumer group protocol");
    Ok(())
}

/// Groups that may not be joined: by their ACLs, and by the protocol of who is in them.
pub(crate) fn forbidden_groups(_: &crate::Peers) -> Outcome {
    let kafka = Kafka::builder()
        .set("authorizer.class.name", AUTHORIZER)
        .set("allow.everyone.if.no.acl.found", "true")
        .set("group.consumer.migration.policy", "disabled")
        .start()?;
    let address = kafka.address(1);
    let mut wire = Wire::connect(&address)?;
    wire.create_topic("t", 1)?;
    allow_alice_alone(&mut wire, "alices")?;
    let seen = poll(&address, "alices")?;
    seen.assert(ErrorCode::GroupAuthorizationFailed, "grant the principal READ on the group");

    // Another group may be joined: it was the group's ACL.
    let works = poll(&address, "everybodys")?;
    assert!(works.errors.is_empty(), "{:?}", works.errors);
    join_classic(&mut wire, "classic")?;
    let seen = poll(&address, "classic")?;
    seen.assert(ErrorCode::GroupIdNotFound, "in use by members of the classic protocol");
    Ok(())
}

/// What a consumer saw within some seconds.
struct Seen {
    errors: Vec<PollError>,
    wakes: u64,
}

impl Seen {
    /// All it was told is this code with this advice, and it was not told in a loop.
    fn assert(&self, code: ErrorCode, advice: &str) {
        eprintln!("{code}: {} errors, {} wakes", self.errors.len(), self.wakes);
        assert!(!self.errors.is_empty(), "{code} is told within {WATCHED:?}");
        for error in &self.errors {
            let told = match error {
                PollError::Fatal { code, .. } | PollError::Refused { code, .. } => *code,
                other => panic!("{other:?}"),
            };
            assert_eq!(told, code, "{error}");
            assert!(error.to_string().contains(advice), "{error}");
        }
        // Requests are repeated after 100 ms, doubled up to a second.
        assert!(self.errors.len() <= 20, "{} errors", self.errors.len());
        assert!(self.wakes <= 200, "{} wakes", self.wakes);
    }
}

/// Polls as a member of `group`, in real time.
fn poll(address: &str, group: &str) -> Result<Seen, Box<dyn std::error::Error>> {
    let builder = Consumer::builder().bootstrap_servers(address).group_id(group);
    let mut consumer = builder.build()?;
    let application = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    application.block_on(async {
        consumer.subscribe(["t"]).await?;
        let (mut errors, mut polls) = (Vec::new(), 0);
        let end = Instant::now() + WATCHED;
        while Instant::now() < end {
            polls += 1;
            match consumer.poll(Duration::from_millis(500)).await {
                Ok(records) => assert!(records.is_empty()),
                Err(error) => errors.push(error),
            }
        }
        let wakes = consumer.background_turns().saturating_sub(2 * polls + 1);
        consumer.close(Duration::from_secs(5)).await;
        Ok(Seen { errors, wakes })
    })
}

/// Only `User:alice` may read the group; whoever connects without credentials is `User:ANONYMOUS`.
fn allow_alice_alone(wire: &mut Wire, group: &str) -> Result<(), WireError> {
    let acl = AclCreation::default()
        .with_resource_type(RESOURCE_GROUP)
        .with_resource_name(text(group))
        .with_resource_pattern_type(PATTERN_LITERAL)
        .with_principal(text("User:alice"))
        .with_host(text("*"))
        .with_operation(OPERATION_READ)
        .with_permission_type(PERMISSION_ALLOW);
    let response = wire.send(3, &CreateAclsRequest::default().with_creations(vec![acl]))?;
    match response.results.first().map(|result| result.error_code) {
        Some(0) => Ok(()),
        code => Err(WireError::Malformed(format!("CreateAcls is answered with {code:?}"))),
    }
}

/// Joins as a member of the classic protocol, which stays for its session.
fn join_classic(wire: &mut Wire, group: &str) -> Result<(), WireError> {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    match wire.send(3, &request)?.error_code {
        0 => Ok(()),
        code => Err(WireError::Malformed(format!("JoinGroup is answered with {code}"))),
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.into())
}

const AUTHORIZER: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
/// `ResourceType.GROUP`, `PatternType.LITERAL`, `AclOperation.READ`, `AclPermissionType.ALLOW`.
const RESOURCE_GROUP: i8 = 3;
const PATTERN_LITERAL: i8 = 3;
const OPERATION_READ: i8 = 3;
const PERMISSION_ALLOW: i8 = 3;
const WATCHED: Duration = Duration::from_secs(4);
