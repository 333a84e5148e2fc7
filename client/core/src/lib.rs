//! The sans-IO core of evenkeel: untimed machines in a timed shell.
