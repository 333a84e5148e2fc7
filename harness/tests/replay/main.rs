//! Replay of whole slices: what cannot be replayed, by name and by reason. One binary, so that the
//! slices of both kinds are explored at the same time.

mod infeasible;
mod requests;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
