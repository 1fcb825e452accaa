//! Sizes that two nodes change at once.

use super::*;

#[test]
fn two_nodes_resize_a_volume_at_once_and_the_last_in_the_log_counts() {
    let scratch = Scratch::new("sizes");
    let members = cluster_of(&scratch, 3);
    members[0].create("db", 3);
    members[0].wait_healthy("db");
    for round in 1..=20 {
        std::thread::scope(|scope| {
            for (number, member) in (1..).zip(&members[..2]) {
                let size_bytes = SIZE + (round * 10 + number) * 4096;
                scope.spawn(move || member.cluster.resize(&name("db"), size_bytes, true).unwrap());
            }
        });
        wait_until("all replicas have the size that all nodes say", || {
            let said = |member: &Member| member.cluster.volume(&name("db")).unwrap().size_bytes;
            let size_bytes = said(&members[0]);
            let has_size = |member: &Member| member.store.volumes().iter().any(|it| it.size_bytes == size_bytes);
            members.iter().all(|member| said(member) == size_bytes && has_size(member))
        });
    }
    members.into_iter().for_each(|member| drop(member.stop()));
}
