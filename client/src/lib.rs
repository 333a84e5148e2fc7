//! A Kafka consumer whose group protocol is model-checked and whose every wait is visible.
