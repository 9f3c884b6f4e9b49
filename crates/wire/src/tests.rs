//! Calls over real sockets, with fakes of the traits behind them.

mod calls;
mod connections;
mod layout;
mod refusals;
mod streams;
mod support;
