//! A cluster of test brokers: how it is built, listens, serves and ends. Control while it runs is
//! in `control.rs`.

use crate::clock::Clock;
use crate::config::{Config, ConfigError, NODES_MAX};
use crate::connection;
use crate::hook::{ConnectionId, Interceptor};
use crate::state::{NewTopic, State};
use evenkeel_spec::words::NodeId;
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bytes that an in-memory connection buffers in each direction.
const IN_MEMORY_BYTES: usize = 1024 * 1024;

/// Some brokers in this process that share topics and groups. Clones are the same cluster; when the
/// last one is dropped, its listeners and connections end.
#[derive(Clone)]
pub struct Cluster {
    owner: Arc<Owner>,
}

/// A [`Cluster`] that does not keep it alive: for hooks.
#[derive(Clone)]
pub struct WeakCluster {
    owner: Weak<Owner>,
}

impl WeakCluster {
    /// The cluster, unless its last handle was dropped.
    #[must_use]
    pub fn upgrade(&self) -> Option<Cluster> {
        self.owner.upgrade().map(|owner| Cluster { owner })
    }
}

struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A connection that begins meanwhile sees that its node is dead, or its entry is taken here.
        self.shared.state().nodes.values_mut().for_each(|node| node.alive = false);
        // Not under the lock: a task that ends takes it to sign off.
        let tasks = std::mem::take(&mut *self.shared.tasks());
        tasks.abort_all();
    }
}

/// What connections and timers share.
pub(crate) struct Shared {
    /// `socket.request.max.bytes`; never changes, so that reading a frame takes no lock.
    pub(crate) request_max_bytes: usize,
    /// Group timers fire by [`Cluster::fire_timer`] only.
    manual_timers: bool,
    state: Mutex<State>,
    appended: Notify,
    timers: Notify,
    tasks: Mutex<Tasks>,
    interceptor: RwLock<Option<Arc<dyn Interceptor>>>,
}

/// The tasks that serve, so that they can be ended.
#[derive(Default)]
struct Tasks {
    /// Without a task while it is being spawned.
    connections: BTreeMap<ConnectionId, (NodeId, Option<JoinHandle<()>>)>,
    listeners: BTreeMap<NodeId, (SocketAddr, Option<JoinHandle<()>>)>,
    timers: Option<JoinHandle<()>>,
}

impl Tasks {
    fn abort_all(self) {
        let connections = self.connections.into_values().filter_map(|(_, task)| task);
        let listeners = self.listeners.into_values().filter_map(|(_, task)| task);
        for task in connections.chain(listeners).chain(self.timers) {
            task.abort();
        }
    }
}

/// Signs a connection off when its task ends, however it ends.
struct Served {
    shared: Arc<Shared>,
    id: ConnectionId,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shared.tasks().connections.remove(&self.id);
    }
}

/// Says what a cluster should be like. Kafka's defaults, one node, no topic.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    nodes: Option<u32>,
    topics: Vec<(String, u32)>,
    settings: Vec<(String, String)>,
    cluster_id: Option<String>,
    start_ms: Option<u64>,
    manual_timers: bool,
}

impl Builder {
    /// How many nodes, 1 to [`NODES_MAX`]; their ids begin at 1.
    #[must_use]
    pub fn nodes(mut self, nodes: u32) -> Self {
        self.nodes = Some(nodes);
        self
    }

    /// A topic that exists from the beginning.
    #[must_use]
    pub fn topic(mut self, name: impl Into<String>, partitions: u32) -> Self {
        self.topics.push((name.into(), partitions));
        self
    }

    /// A broker configuration by Kafka's name; [`Config::KEYS`] lists them. Checked by
    /// [`Builder::build`].
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }

    /// The cluster's id; default `evenkeel-test-broker0`.
    #[must_use]
    pub fn cluster_id(mut self, id: impl Into<String>) -> Self {
        self.cluster_id = Some(id.into());
        self
    }

    /// The time at which the broker's clock starts, milliseconds since 1970; default: the present.
    /// With it, and under paused time, a run's timestamps are the same each time.
    #[must_use]
    pub fn start_time_ms(mut self, start_ms: u64) -> Self {
        self.start_ms = Some(start_ms);
        self
    }

    /// Group timers (session, rebalance, assignment) fire by `Cluster::fire_timer` only, never by
    /// the clock.
    #[must_use]
    pub fn manual_timers(mut self) -> Self {
        self.manual_timers = true;
        self
    }

    /// The cluster, serving nobody yet. Errors: [`ConfigError`], which names the key or the topic.
    pub fn build(self) -> Result<Cluster, ConfigError> {
        let mut config = Config::default();
        for (key, value) in &self.settings {
            config.set(key, value)?;
        }
        let nodes = self.nodes.unwrap_or(1);
        if !(1..=NODES_MAX).contains(&nodes) {
            return Err(ConfigError::Nodes { nodes });
        }
        let request_max_bytes = config.request_max_bytes as usize;
        let id = self.cluster_id.unwrap_or_else(|| "evenkeel-test-broker0".to_owned());
        let mut state = State::new(config, id, Clock::new(self.start_ms), nodes);
        for (topic, partitions) in self.topics {
            let new = NewTopic { partitions: Some(partitions), ..NewTopic::default() };
            state
                .create_topic(&topic, new)
                .map_err(|(_, reason)| ConfigError::Topic { topic, reason })?;
        }
        let shared = Arc::new(Shared {
            request_max_bytes,
            manual_timers: self.manual_timers,
            state: Mutex::new(state),
            appended: Notify::new(),
            timers: Notify::new(),
            tasks: Mutex::default(),
            interceptor: RwLock::new(None),
        });
        Ok(Cluster { owner: Arc::new(Owner { shared }) })
    }
}

impl Cluster {
    /// Begins to describe a cluster.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Listens for TCP connections: node i on `addr`'s port + i - 1, or each on a free port if it
    /// is 0. Clients are told these addresses. Returns them in the order of the node ids.
    ///
    /// Errors: as binding a socket has them. Needs a tokio runtime with I/O and time.
    pub fn listen(&self, addr: SocketAddr) -> io::Result<Vec<SocketAddr>> {
        self.listen_as(addr, &addr.ip().to_string())
    }

    /// As [`Cluster::listen`], but clients are told `host` instead of the address's.
    pub fn listen_as(&self, addr: SocketAddr, host: &str) -> io::Result<Vec<SocketAddr>> {
        let nodes = self.nodes();
        let mut bound = Vec::with_capacity(nodes.len());
        for (index, &node) in (0u16..).zip(&nodes) {
            let mut addr = addr;
            if addr.port() != 0 {
                let port = addr.port().checked_add(index);
                addr.set_port(port.ok_or(io::ErrorKind::InvalidInput)?);
            }
            bound.push((node, bind(addr)?));
        }
        let mut addresses = Vec::with_capacity(nodes.len());
        for (node, listener) in bound {
            let addr = listener.local_addr()?;
            self.set_endpoint(node, host, addr.port());
            self.accept(node, addr, listener);
            addresses.push(addr);
        }
        Ok(addresses)
    }

    /// A connection to `node` in memory: the same protocol without sockets. `None` if the node is
    /// dead or there is none. Needs a tokio runtime with time.
    #[must_use]
    pub fn connect_in_memory(&self, node: NodeId) -> Option<DuplexStream> {
        if !self.shared().state().nodes.get(&node)?.alive {
            return None;
        }
        let (near, far) = tokio::io::duplex(IN_MEMORY_BYTES);
        Shared::spawn_connection(self.shared(), node, far, "in-memory".to_owned());
        Some(near)
    }

    /// A handle that does not keep the cluster alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakCluster {
        WeakCluster { owner: Arc::downgrade(&self.owner) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    /// Ends what serves `node`: its listener and its connections. Returns when they are gone.
    pub(crate) async fn end_node(&self, node: NodeId) {
        let mut ending = Vec::new();
        {
            let mut tasks = self.shared().tasks();
            if let Some((_, task)) = tasks.listeners.get_mut(&node) {
                ending.extend(task.take());
            }
            let here = tasks.connections.iter().filter(|(_, (on, _))| *on == node);
            let ids: Vec<ConnectionId> = here.map(|(&id, _)| id).collect();
            let served = ids.iter().filter_map(|id| tasks.connections.remove(id));
            ending.extend(served.filter_map(|(_, task)| task));
        }
        for task in ending {
            task.abort();
            let _ = task.await; // only that it ended matters
        }
    }

    /// Ends one connection. Returns when it is gone.
    pub(crate) async fn end_connection(&self, id: ConnectionId) {
        let task = self.shared().tasks().connections.remove(&id);
        if let Some((_, Some(task))) = task {
            task.abort();
            let _ = task.await; // only that it ended matters
        }
    }

    /// Listens again where `node` listened before, if it did.
    pub(crate) fn listen_again(&self, node: NodeId) -> io::Result<()> {
        let addr = match self.shared().tasks().listeners.get(&node) {
            Some(&(addr, None)) => addr,
            _ => return Ok(()),
        };
        let listener = bind(addr)?;
        self.accept(node, addr, listener);
        Ok(())
    }

    fn accept(&self, node: NodeId, addr: SocketAddr, listener: TcpListener) {
        let shared = Arc::downgrade(self.shared());
        let task = tokio::spawn(async move {
            loop {
                let accepted = listener.accept().await;
                let Some(shared) = shared.upgrade() else { return };
                let Ok((stream, from)) = accepted else {
                    // No descriptor is left, or the peer is gone already: a later one may fare better.
                    drop(shared);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                if stream.set_nodelay(true).is_ok() {
                    let host = from.ip().to_string();
                    Shared::spawn_connection(&shared, node, stream, host);
                }
            }
        });
        self.shared().tasks().listeners.insert(node, (addr, Some(task)));
    }
}

/// After a connection that could not be accepted.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn interceptor(&self) -> Option<Arc<dyn Interceptor>> {
        self.interceptor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_interceptor(&self, interceptor: Option<Arc<dyn Interceptor>>) {
        *self.interceptor.write().unwrap_or_else(PoisonError::into_inner) = interceptor;
    }

    /// Records, leaders or topics changed: waiting fetches look again.
    pub(crate) fn appended(&self) {
        self.appended.notify_waiters();
    }

    /// The next call of [`Shared::appended`].
    pub(crate) fn next_append(&self) -> Notified<'_> {
        self.appended.notified()
    }

    /// Changes the state where group timers may be armed: who waits for them is told.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state);
        let earlier = state.groups.timers.take_earlier();
        drop(state);
        if earlier {
            self.timers.notify_one();
        }
        result
    }

    /// The connections open at present, with their nodes.
    pub(crate) fn connections(&self) -> Vec<(ConnectionId, NodeId)> {
        self.tasks().connections.iter().map(|(&id, (node, _))| (id, *node)).collect()
    }

    fn spawn_connection<S>(self: &Arc<Self>, node: NodeId, stream: S, host: String)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let id = {
            let mut state = self.state();
            state.counts.connections += 1;
            ConnectionId(state.counts.connections)
        };
        self.tasks().connections.insert(id, (node, None));
        let served = Served { shared: Arc::clone(self), id };
        // After the entry above: whoever kills the node sees that one, or is seen here.
        if !self.state().nodes.get(&node).is_some_and(|node| node.alive) {
            return;
        }
        let task = tokio::spawn(async move {
            connection::serve(Arc::clone(&served.shared), node, id, host, stream).await;
        });
        self.ensure_timers();
        match self.tasks().connections.get_mut(&id) {
            Some((_, entry)) => *entry = Some(task),
            None => task.abort(), // killed meanwhile, or at its end already
        }
    }

    fn ensure_timers(self: &Arc<Self>) {
        if self.manual_timers || self.tasks().timers.is_some() {
            return;
        }
        let task = tokio::spawn(run_timers(Arc::clone(self)));
        if let Some(earlier) = self.tasks().timers.replace(task) {
            earlier.abort(); // two connections began at once
        }
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Binds now, so that an error is the caller's; the address may be used again at once.
fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = StdTcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Fires group timers as they come due, until the cluster is gone.
async fn run_timers(shared: Arc<Shared>) {
    loop {
        let next = {
            let mut state = shared.state();
            state.fire_due(Instant::now());
            state.groups.timers.take_earlier();
            state.groups.timers.next()
        };
        let changed = shared.timers.notified();
        match next {
            Some(next) => {
                // Whichever is first: the timers are looked at again in both cases.
                let _ = tokio::time::timeout_at(next, changed).await;
            }
            None => changed.await,
        }
    }
}
