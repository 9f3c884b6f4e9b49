//! Scrapes of small servers on the loopback interface, into a twin of a replica.

mod connections;
mod discovered;
mod hanging;
mod pages;
mod reloads;
mod stored;
mod support;
