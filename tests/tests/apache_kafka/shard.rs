//! Which shard of Kafka's group coordinator serves a group: the partition of `__consumer_offsets`.

/// A group's name that begins so and that this shard serves.
pub(crate) fn on_shard(shard: u32, start: &str) -> String {
    let mut names = (0..).map(|salt: u32| format!("{start}-{salt}"));
    names.find(|name| shard_of(name) == shard).expect("one name in three fits")
}

/// The shard of a group (`GroupCoordinatorService.partitionFor`).
pub(crate) fn shard_of(group: &str) -> u32 {
    java_hash(group).unsigned_abs() % SHARDS
}

/// `String.hashCode` of Java, for ASCII.
fn java_hash(text: &str) -> i32 {
    text.bytes().fold(0, |hash: i32, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)))
}

/// `offsets.topic.num.partitions` of the tests' clusters: one shard of the coordinator each.
pub(crate) const SHARDS: u32 = 3;
