//! What the Kafka group protocol is: its words and its rules.
