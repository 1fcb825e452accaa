//! Commands on clusters, as far as one node goes: what they say where there is no cluster, and what they refuse.

use std::fs;

use serde_json::Value;

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;

/// Verbs that make sense in a cluster only.
const VERBS: [&[&str]; 12] = [
    &["cluster", "token"],
    &["cluster", "status"],
    &["cluster", "set", "catch-up-rate=1M"],
    &["cluster", "rotate-authority"],
    &["cluster", "rotate-authority", "--cancel"],
    &["node", "ls"],
    &["node", "drain", "n2"],
    &["node", "resume", "n2"],
    &["node", "rm", "n2"],
    &["node", "rm", "n2", "--lost"],
    &["move", "vm", "--to", "n2"],
    &["create", "vm", "--size", "1G", "--replicas", "3"],
];

#[test]
fn clusters_need_a_running_daemon() {
    let scratch = Scratch::new("cluster-stopped");
    let silt = Silt::new(&scratch.join("data"));
    let verbs = || VERBS.into_iter().chain([&["cluster", "init"][..]]);
    for verb in verbs() {
        let missing = silt.run(verb).expect(10);
        assert!(missing.stderr.contains("there is no store in"), "{verb:?}: {}", missing.stderr);
    }
    assert!(!silt.data().exists(), "nothing is made for nothing");
    silt.run(&["create", "local", "--size", "1G"]).expect(0);
    for verb in verbs() {
        let refused = silt.run(verb).expect(1);
        assert!(refused.stderr.contains("no daemon serves"), "{verb:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("silt serve"), "{verb:?}: {}", refused.stderr);
    }
    let refused = silt.run(&["cluster", "status", "--json"]).expect(1);
    let failure: Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!((&failure["kind"], &failure["code"]), (&"unavailable".into(), &1.into()));
}

#[test]
fn a_node_in_no_cluster_says_so() {
    let scratch = Scratch::new("cluster-none");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--create", "local=1G"]);
    for verb in VERBS {
        let refused = silt.run(verb).expect(10);
        assert!(refused.stderr.contains("this node is in no cluster"), "{verb:?}: {}", refused.stderr);
        assert!(refused.stdout.is_empty(), "{verb:?}");
    }
    assert_eq!(silt.json(&["ls"])["volumes"].as_array().unwrap().len(), 1, "no volume was made in its place");
    let alone = silt.run(&["set", "local", "replicas=2"]).expect(1);
    assert!(alone.stderr.contains("of this node alone"), "{}", alone.stderr);
    silt.run(&["set", "vm", "replicas=2"]).expect(10);
    assert!(!silt.run(&["ls"]).expect(0).text().contains("REPLICAS"));
    assert_eq!(silt.json(&["info", "local"])["replication"], Value::Null);
    assert_eq!(silt.json(&["status"])["cluster"], Value::Null);
    assert!(!silt.run(&["status"]).expect(0).text().lines().any(|line| line.starts_with("cluster")));
    daemon.stop().expect(0);
}

#[test]
fn nonsense_is_no_token() {
    let scratch = Scratch::new("cluster-token");
    let silt = Silt::new(&scratch.join("data"));
    let join = |text: &str| silt.run(&["serve", "--no-tcp", "--join", text]);
    for text in ["silt1-n0nsense", "hello", ""] {
        let refused = join(text).expect(2);
        assert!(refused.stderr.contains("this is no token"), "{text}: {}", refused.stderr);
        assert!(!refused.stderr.contains("n0nsense"), "a secret must not get into logs: {}", refused.stderr);
    }
    let file = scratch.join("token");
    fs::write(&file, "silt1-n0nsense\n").unwrap();
    let refused = join(&format!("@{}", file.display())).expect(2);
    assert!(refused.stderr.contains("this is no token") && !refused.stderr.contains("n0nsense"), "{}", refused.stderr);
    fs::remove_file(&file).unwrap();
    let missing = join(&format!("@{}", file.display())).expect(1);
    assert!(missing.stderr.contains(file.to_str().unwrap()), "{}", missing.stderr);
    assert!(!silt.data().exists(), "a refused command line leaves no store");
}

#[test]
fn wishes_that_make_no_sense_exit_with_2() {
    let scratch = Scratch::new("cluster-usage");
    let silt = Silt::new(&scratch.join("data"));
    for verb in [
        &["create", "vm", "--size", "1G", "--replicas", "0"][..],
        &["create", "vm", "--size", "1G", "--replicas", "8"],
        &["set", "vm", "replicas=0"],
        &["set", "vm", "replicas=many"],
        &["move", "vm"],
        &["move", "vm@snapshot", "--to", "n2"],
        &["cluster", "token", "--valid", "soon"],
        &["cluster"],
        &["node", "rm"],
        &["serve", "--zone", "left"],
        &["serve", "--node-name", "n1"],
    ] {
        silt.run(verb).expect(2);
    }
    assert!(!silt.data().exists());
}

/// A stopped node in a cluster knows only its own volumes, and does not say of others that there are none.
#[test]
fn a_stopped_node_does_not_deny_what_it_cannot_know() {
    let scratch = Scratch::new("cluster-unknown");
    let silt = Silt::new(&scratch.join("data"));
    silt.run(&["create", "local", "--size", "1G"]).expect(0);
    let verbs: [&[&str]; 8] = [
        &["info", "vm"],
        &["uri", "vm"],
        &["resize", "vm", "--size", "2G"],
        &["rm", "vm"],
        &["rm", "vm", "--now"],
        &["set", "vm", "replicas=3"],
        &["export", "vm", "-"],
        &["snap", "create", "vm@a"],
    ];
    for verb in verbs {
        silt.run(verb).expect(10);
    }
    fs::create_dir(silt.data().join("cluster")).unwrap();
    fs::write(silt.data().join("cluster/node"), "the key").unwrap();
    for verb in verbs {
        let refused = silt.run(verb).expect(1);
        assert!(
            refused.stderr.contains("replicated ones are there only while a daemon"),
            "{verb:?}: {}",
            refused.stderr
        );
    }
    silt.run(&["info", "local"]).expect(0);
    silt.run(&["snap", "create", "local@a"]).expect(0);
    silt.run(&["rm", "local", "--snapshots"]).expect(0);
}

/// Nor does it give a name that a replicated volume may have to one of its own, which would hide that from its clients.
#[test]
fn a_stopped_node_makes_no_volume_whose_name_the_cluster_may_have_given() {
    let scratch = Scratch::new("cluster-shadow");
    let silt = Silt::new(&scratch.join("data"));
    silt.run(&["create", "local", "--size", "1M"]).expect(0);
    silt.run(&["create", "gone", "--size", "1M"]).expect(0);
    silt.run(&["rm", "gone"]).expect(0);
    fs::create_dir(silt.data().join("cluster")).unwrap();
    fs::write(silt.data().join("cluster/node"), "the key").unwrap();
    let verbs: [&[&str]; 4] = [
        &["create", "vm", "--size", "1G"],
        &["import", "-", "vm"],
        &["clone", "local", "vm"],
        &["trash", "restore", "gone"],
    ];
    for verb in verbs {
        let refused = silt.run(verb).expect(1);
        assert!(refused.stderr.contains("only while a daemon"), "{verb:?}: {}", refused.stderr);
    }
    assert_eq!(silt.json(&["ls"])["volumes"].as_array().unwrap().len(), 1);
}

#[test]
fn what_a_daemon_makes_as_it_starts_hides_no_replicated_volume() {
    let scratch = Scratch::new("cluster-create");
    let silt = Silt::new(&scratch.join("data"));
    let listen = ["--listen", "127.0.0.1:0"];
    let daemon = Daemon::start(&silt, &[&listen[..], &["--create", "own=1M"]].concat());
    silt.run(&["cluster", "init"]).expect(0);
    silt.run(&["create", "vm", "--size", "1G", "--replicas", "1"]).expect(0);
    daemon.stop().expect(0);
    let refused = silt.run(&["serve", "--no-tcp", "--memory", "256M", "--create", "vm=2G"]);
    assert!(refused.code != 0 && refused.stderr.contains("volume vm exists with 1 GiB"), "{refused:?}");
    let daemon = Daemon::start(&silt, &["--create", "vm=1G", "--create", "own=1M"]);
    let volumes = silt.json(&["ls"])["volumes"].clone();
    assert_eq!((volumes.as_array().unwrap().len(), &volumes[0]["name"]), (2, &"own".into()), "{volumes}");
    assert!(volumes[1]["replication"].is_object(), "{volumes}");
    daemon.stop().expect(0);
}

#[test]
fn without_tcp_an_address_is_for_the_cluster_alone() {
    let scratch = Scratch::new("cluster-address");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--listen", "0.0.0.0:0"]);
    let ready = daemon.ready();
    assert_eq!(ready["endpoints"].as_array().unwrap().len(), 1, "{ready}");
    assert_eq!(ready["warnings"].as_array().unwrap().len(), 0, "{ready}");
    daemon.stop().expect(0);
}
