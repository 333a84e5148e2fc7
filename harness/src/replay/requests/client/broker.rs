//! The test broker of a trace: its topics, its group, and what the trace does inside of it.

use super::super::application as app;
use super::super::view::Said;
use bytes::Bytes;
use evenkeel_broker::{After, Answer, Before, Cluster, Interceptor, Request, RequestWords};
use evenkeel_spec::words::{ErrorCode, HeartbeatEpoch, NodeId};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A request, as the broker reads it.
pub(super) fn said(cluster: &Cluster, frame: &Bytes) -> Said {
    let key = i16::from_be_bytes([frame[4], frame[5]]);
    match (key, cluster.read_words(frame.slice(4..))) {
        (API_VERSIONS, _) => Said::Handshake,
        (FETCH, _) => Said::Fetch,
        (_, Some(RequestWords::OffsetCommit(..))) => Said::Commit,
        (_, Some(RequestWords::OffsetFetch(_, fetch))) => {
            let partitions = fetch.partitions.iter().flatten();
            let things = partitions.map(|id| app::thing(&app::name(*id)));
            let all = things.into_iter().try_fold(0, |all, thing| Some(all | thing?));
            all.map_or_else(|| Said::Other(format!("{fetch:?}")), Said::Offsets)
        }
        (_, Some(RequestWords::Heartbeat(_, heartbeat))) => match heartbeat.epoch {
            HeartbeatEpoch::Leave => Said::Leave,
            _ if heartbeat.owned.is_some() => Said::Owned,
            _ => Said::Presence,
        },
        (key, _) => Said::Other(format!("a request of API {key}")),
    }
}

const FETCH: i16 = 1;
const API_VERSIONS: i16 = 18;

/// How long the broker throttles with its next answer to a handshake, milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Throttles(Arc<Mutex<u64>>);

impl Throttles {
    pub(super) fn next(&self, ms: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ms;
    }

    fn take(&self) -> u64 {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The broker's way to the throttles.
struct Tap(Throttles);

impl Interceptor for Tap {
    fn on_request(&self, _: &Request) -> Before {
        Before::Process
    }

    fn on_answer(&self, request: &Request, _: &Answer) -> After {
        if request.api_key != API_VERSIONS || request.node != NodeId(PORT.into()) {
            return After::Answer;
        }
        match self.0.take() {
            0 => After::Answer,
            ms => After::Throttle(Duration::from_millis(ms.min(INT_MAX))),
        }
    }
}

/// The group's id.
pub(super) const GROUP: &str = "g";
/// The other broker, by its port and its number. It comes first: whoever may be asked is asked first.
pub(super) const OTHER_PORT: u16 = 1;
/// The broker of the trace.
pub(super) const PORT: u16 = 2;

/// The longest that Kafka's keys take, milliseconds: longer than any trace.
pub(super) const INT_MAX: u64 = i32::MAX as u64;

/// A cluster with the topics of a trace, whose handshakes are throttled as the trace says.
pub(super) fn cluster(throttles: &Throttles) -> Result<Cluster, String> {
    let cluster = Cluster::builder().nodes(2).start_time_ms(0).manual_timers().build();
    let cluster = cluster.map_err(|error| error.to_string())?;
    for port in [OTHER_PORT, PORT] {
        cluster.set_endpoint(NodeId(port.into()), "b", port);
    }
    let topic = app::topic();
    let name = topic.as_str();
    let refused = |error: ErrorCode| error.name().to_owned();
    cluster.create_topic(name, app::PARTITIONS).map_err(refused)?;
    for partition in 0..app::PARTITIONS {
        let leader = if partition == app::FETCHED { PORT } else { OTHER_PORT };
        cluster.move_leader(name, partition, NodeId(leader.into())).map_err(refused)?;
    }
    cluster.move_coordinator(GROUP, NodeId(PORT.into())).map_err(refused)?;
    cluster.intercept(Tap(throttles.clone()));
    Ok(cluster)
}
