//! Clusters in one thread with a clock of their own: [`wire`] carries messages, disks are in memory.

mod cluster;
mod failures;
mod growth;
mod messages;
mod wire;
