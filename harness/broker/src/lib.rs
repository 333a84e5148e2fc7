//! A Kafka broker for tests: real TCP, logs in memory, the checked coordinator as its brain.
