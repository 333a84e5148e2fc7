//! The group alone, step by step.
