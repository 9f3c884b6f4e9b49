//! The ledger under test, and a short set of scenarios. `NARTHEX_BIN` names the binary; else it is the one that was built
//! beside this test.

mod faults;
mod scenarios;
