//! The codec against kafka-protocol's broker side.
