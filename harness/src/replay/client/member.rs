//! One consumer of the target `client`: its application, and what of its traffic the trace holds.

use super::application::{Application, Heard, Order, Topics};
use super::links::Came;
use super::stream::{LinkId, Network};
use crate::replay::core::WrongDriver;
use crate::replay::schedule::{api_timeout_ms, auto_commit_interval_ms, poll_interval_ms};
use crate::replay::view::{ConsumerView, Got, News, Sent};
use bytes::Bytes;
use evenkeel::{ConfigError, Consumer, Seek, TopicPartition};
use evenkeel_model::bounds::Slice;
use evenkeel_model::profiles::Profile;
use evenkeel_model::system::Place;
use evenkeel_spec::words::{HeartbeatEpoch, TopicIdPartition};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// A request that has not arrived.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) link: LinkId,
    pub(super) sent: Sent,
    pub(super) frame: Bytes,
}

/// One consumer.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) heard: Heard,
    orders: mpsc::UnboundedSender<Order>,
    pub(super) lookup: Option<LinkId>,
    pub(super) requests: Vec<Held>,
    pub(super) answers: Vec<(LinkId, Got)>,
    /// How many topics metadata names.
    pub(super) resolved: usize,
    /// How many of the trace's steps that name one more were anticipated from the start.
    pub(super) anticipated: usize,
    /// As far as its answers tell, it has an epoch.
    pub(super) is_member: bool,
    pub(super) narrowed: bool,
}

/// How long a Fetch is parked, milliseconds: long, so that little happens without need, and shorter
/// than any request timeout.
pub(super) const FETCH_WAIT_MS: u64 = 20_000;

/// The port of the broker that is named as bootstrap server, which is not a coordinator.
pub(super) const BOOTSTRAP: u16 = 3;

/// The longest that Kafka's keys take, milliseconds: longer than any path.
const INT_MAX: u64 = i32::MAX as u64;

impl Member {
    /// Starts the shipped consumer and its application on the present runtime.
    pub(super) fn start(
        slice: &Slice,
        profile: &Profile,
        i: usize,
        network: &Network,
        wrong: Option<WrongDriver>,
    ) -> Result<Self, ConfigError> {
        let (orders, queue) = mpsc::unbounded_channel();
        let heard = Heard::new();
        let application = Application {
            consumer: consumer(slice, profile, i, network)?,
            orders: queue,
            heard: heard.clone(),
            listens: slice.listener,
            wrong,
            topics: Topics::of(slice),
        };
        tokio::spawn(application.run());
        Ok(Self {
            heard,
            orders,
            lookup: None,
            requests: Vec::new(),
            answers: Vec::new(),
            resolved: 0,
            anticipated: 0,
            is_member: false,
            narrowed: false,
        })
    }

    /// Tells the application what to do.
    pub(super) fn order(&self, order: Order) -> Result<(), &'static str> {
        self.orders.send(order).map_err(|_| "the application has ended")
    }

    /// Lets the application read a partition from elsewhere.
    pub(super) fn seek(
        &self,
        slice: &Slice,
        id: TopicIdPartition,
        place: Place,
    ) -> Result<(), &'static str> {
        let topic = slice.topics.get(&id.topic).ok_or("there is no such topic")?;
        let partition = TopicPartition { topic: topic.name.clone(), partition: id.partition };
        let to = slice.place(id, place).1.map_or(Seek::Beginning, Seek::Offset);
        self.order(Order::Seek(partition, to))
    }

    /// Lets the open callback return.
    pub(super) fn end_callback(&self, ok: bool) -> Result<(), &'static str> {
        let open = self.heard.ear().callback.take().ok_or("no callback is open")?;
        open.end(ok);
        Ok(())
    }

    /// Takes note of what it sent.
    pub(super) fn on_came(&mut self, came: Came) {
        match came {
            Came::Group(_, link, sent, frame, epoch) => {
                let is_stay = matches!(epoch, None | Some(HeartbeatEpoch::Stay(_)));
                self.is_member &= is_stay;
                self.requests.push(Held { link, sent, frame });
            }
            Came::Lookup(_, link) => self.lookup = Some(link),
            Came::Unreadable(_) => {
                let mut ear = self.heard.ear();
                ear.news.push(News::Surprised);
                ear.surprises.push("a request that the broker cannot read".to_owned());
            }
            Came::Closed(_, link) => {
                self.lookup.take_if(|held| *held == link);
                self.requests.retain(|held| held.link != link);
                self.answers.retain(|(held, _)| *held != link);
            }
        }
    }

    /// What an onlooker sees.
    pub(super) fn view(&self) -> ConsumerView {
        let ear = self.heard.ear();
        ConsumerView {
            crashed: false,
            member: None,
            call: ear.call,
            callback: ear.callback.as_ref().map(|open| open.told.clone()),
            looks: self.lookup.is_some(),
            requests: self.requests.iter().map(|held| held.sent.clone()).collect(),
            answers: self.answers.iter().map(|(_, got)| got.clone()).collect(),
            news: ear.news.clone(),
            assignment: ear.assignment.clone(),
        }
    }
}

fn consumer(
    slice: &Slice,
    profile: &Profile,
    i: usize,
    network: &Network,
) -> Result<Consumer, ConfigError> {
    let bounded = |ms: u64| ms.min(INT_MAX).to_string();
    Consumer::builder()
        .bootstrap_servers(format!("bootstrap:{BOOTSTRAP}"))
        .group_id(super::GROUP)
        .property("client.id", super::client_id(i))
        .property("enable.auto.commit", slice.auto_commit.to_string())
        .property("auto.commit.interval.ms", bounded(auto_commit_interval_ms(slice, profile)))
        .property("auto.offset.reset", "earliest")
        // The model's small world gives the group's requests a connection of their own.
        .property("coordinator.connection", "dedicated")
        .property("connections.max.idle.ms", "-1")
        .property("default.api.timeout.ms", bounded(api_timeout_ms(slice, profile)))
        .property("fetch.max.wait.ms", FETCH_WAIT_MS.to_string())
        .property("fetch.min.bytes", "0")
        .property("max.partition.fetch.bytes", "1")
        .property("max.poll.interval.ms", poll_interval_ms(slice, profile).to_string())
        .property("max.poll.records", "1")
        .property("reconnect.backoff.ms", "1")
        .property("reconnect.backoff.max.ms", "1")
        .property("request.timeout.ms", bounded(profile.request_timeout_ms))
        .property("retry.backoff.ms", bounded(profile.retry_backoff_ms))
        .property("retry.backoff.max.ms", bounded(profile.retry_backoff_max_ms))
        .spawn_on(Handle::current())
        .connector(network.connector(i))
        .seed(i as u64)
        .build()
}
