//! What is alive in a Siltstone store, and whose it is.
//!
//! Liveness is derived from the map and from nothing else: there are no reference counts that could disagree with it.

pub mod census;

pub use census::{Census, CensusCache, GroupCensus, VolumeCensus, census, census_with_group};
