//! End-to-end tests: the binary, its peers, and what must hold between them. Each test starts what it needs in a folder of
//! its own, on ports that are free, waits for conditions and never for time, and prints its seed.

mod agree;
mod bad;
mod exporters;
mod history;
mod kill;
mod memory;
mod restart;
mod scrape;
