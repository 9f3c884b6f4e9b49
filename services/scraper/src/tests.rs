//! Scrapes of small servers on the loopback interface, into a twin of a replica.

mod connections;
mod discovered;
mod gathered;
mod hanging;
mod histograms;
mod pages;
pub(crate) mod plant;
mod reloads;
mod sharing;
mod stored;
mod support;
