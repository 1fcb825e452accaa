//! Is a history of reads and writes of one block linearizable? With a value of its own for each write this can be decided
//! at once (Gibbons and Korach: Testing Shared Memories, SIAM J. Comput. 1997).
//!
//! A write and its reads are a cluster. Between the first answer and the last call of a cluster its value must be the
//! block's: that is its zone. A zone that runs forward may overlap no other such zone; one that runs backward, in which all
//! its operations overlap, may not lie within a forward one.

use std::collections::BTreeMap;

/// An operation on a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Op {
    /// It wrote the value; otherwise it read it.
    pub is_write: bool,
    /// The value, which no other write has. 0 is what the block held at first.
    pub value: u64,
    /// When it was called.
    pub called: u64,
    /// When it was answered; `None` if it never was. Reads without an answer say nothing and are left out.
    pub answered: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Cluster {
    write: Option<(u64, u64)>,
    first_answer: u64,
    last_call: u64,
    earliest_read_answer: u64,
    is_seen: bool,
}

/// Decides whether `ops` of a block that held `initial` are linearizable.
///
/// # Errors
/// Says which values cannot be put in order.
pub fn check(initial: u64, ops: &[Op]) -> Result<(), String> {
    let mut clusters: BTreeMap<u64, Cluster> = BTreeMap::new();
    let empty =
        Cluster { write: None, first_answer: u64::MAX, last_call: 0, earliest_read_answer: u64::MAX, is_seen: false };
    clusters.insert(initial, Cluster { write: Some((0, 0)), first_answer: 0, is_seen: true, ..empty });
    for op in ops.iter().filter(|op| op.is_write || op.answered.is_some()) {
        let cluster = clusters.entry(op.value).or_insert(empty);
        let answered = op.answered.unwrap_or(u64::MAX);
        cluster.first_answer = cluster.first_answer.min(answered);
        cluster.last_call = cluster.last_call.max(op.called);
        if op.is_write {
            cluster.write = Some((op.called, answered));
            cluster.is_seen |= op.answered.is_some();
        } else {
            cluster.earliest_read_answer = cluster.earliest_read_answer.min(answered);
            cluster.is_seen = true;
        }
    }
    // A write without an answer that nobody saw may never have happened.
    clusters.retain(|_, cluster| cluster.is_seen);
    for (value, cluster) in &clusters {
        let (called, _) = cluster.write.ok_or_else(|| format!("{value} was read and never written"))?;
        if cluster.earliest_read_answer < called {
            return Err(format!("{value} was read before it was written"));
        }
    }
    zones_fit(&clusters)
}

fn zones_fit(clusters: &BTreeMap<u64, Cluster>) -> Result<(), String> {
    let zone = |cluster: &Cluster| (cluster.first_answer, cluster.last_call);
    let mut forward: Vec<(u64, u64, u64)> = clusters
        .iter()
        .map(|(value, cluster)| (zone(cluster).0, zone(cluster).1, *value))
        .filter(|(start, end, _)| start < end)
        .collect();
    forward.sort_unstable();
    for pair in forward.windows(2) {
        if pair[1].0 < pair[0].1 {
            return Err(format!("{} and {} were each seen before and after the other: {pair:?}", pair[0].2, pair[1].2));
        }
    }
    for (value, cluster) in clusters {
        let (end, start) = zone(cluster);
        let around = forward.partition_point(|(from, _, _)| *from < start);
        if start <= end
            && let Some((from, to, other)) = around.checked_sub(1).map(|index| forward[index])
            && from < start
            && end < to
        {
            return Err(format!("{value} was current within {start}..{end}, when {other} was: {from}..{to}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
