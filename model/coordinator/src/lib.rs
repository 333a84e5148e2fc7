//! The group coordinator of KIP-848, sans-IO and event-sourced.
