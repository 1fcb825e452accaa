use clap::Parser;
use siltstone::control::Kind;

use super::network::Tcp;
use super::*;
use crate::args::{Args, Command};

fn serve(arguments: &[&str]) -> Serve {
    let all = ["silt", "serve"].iter().chain(arguments);
    match Args::try_parse_from(all).unwrap().command {
        Command::Serve(serve) => serve,
        other => panic!("{other:?}"),
    }
}

#[test]
fn volumes_to_create_are_parsed() {
    let wanted: Wanted = "demo=10G,codec=zstd:3".parse().unwrap();
    assert_eq!(wanted, Wanted { name: "demo".parse().unwrap(), size_bytes: 10 << 30, codec: Some("zstd:3".into()) });
    assert_eq!("a=1M".parse::<Wanted>().unwrap().codec, None);
    for bad in ["demo", "=10G", "Demo=10G", "demo=", "demo=10GB", "demo=1G,zstd", "demo=1G,codec=rar"] {
        assert!(bad.parse::<Wanted>().is_err(), "{bad}");
    }
}

#[test]
fn only_loopback_is_listened_on_unless_told_otherwise() {
    let tcp = |arguments: &[&str]| serve(arguments).network.tcp(false);
    let at = |address: &str| Tcp::At(address.parse().unwrap());
    assert_eq!(tcp(&[]).unwrap(), at("127.0.0.1:10809"));
    assert_eq!(tcp(&["--listen", "[::1]:1"]).unwrap(), at("[::1]:1"));
    let refused = tcp(&["--listen", "0.0.0.0:10809"]).unwrap_err();
    assert_eq!(refused.kind, Kind::Invalid);
    assert_eq!(tcp(&["--listen", "10.0.0.1:1", "--insecure-listen"]).unwrap(), at("10.0.0.1:1"));
    let tls = ["--listen", "10.0.0.1:1", "--tls-cert", "c", "--tls-key", "k"];
    assert_eq!(tcp(&tls).unwrap(), at("10.0.0.1:1"));
    assert_eq!(tcp(&["--no-tcp"]).unwrap(), Tcp::Off);
    assert_eq!(tcp(&["--no-tcp", "--listen", "10.0.0.1:1"]).unwrap(), Tcp::Off);
}

#[test]
fn an_address_for_the_cluster_serves_no_nbd_in_clear() {
    let tcp = |arguments: &[&str]| serve(arguments).network.tcp(true).unwrap();
    assert_eq!(tcp(&["--listen", "10.0.0.1:1"]), Tcp::Withheld);
    assert_eq!(tcp(&["--listen", "127.0.0.1:1"]), Tcp::At("127.0.0.1:1".parse().unwrap()));
    assert_eq!(tcp(&["--listen", "10.0.0.1:1", "--insecure-listen"]), Tcp::At("10.0.0.1:1".parse().unwrap()));
    let tls = ["--listen", "10.0.0.1:1", "--tls-cert", "c", "--tls-key", "k"];
    assert_eq!(tcp(&tls), Tcp::At("10.0.0.1:1".parse().unwrap()));
}

#[test]
fn a_node_in_a_cluster_needs_no_token_any_more() {
    let token = |is_in_cluster| {
        let mut warnings = Vec::new();
        let serve = serve(&["--join", "@/nothing/here"]);
        serve.network.token(is_in_cluster, &mut warnings).map(|token| (token.is_some(), warnings.len()))
    };
    assert!(token(false).is_err());
    assert_eq!(token(true).unwrap(), (false, 1));
}

#[test]
fn what_is_said_of_a_node_belongs_to_joining() {
    let is_fine = |arguments: &[&str]| Args::try_parse_from(["silt", "serve"].iter().chain(arguments)).is_ok();
    assert!(is_fine(&["--join", "t", "--zone", "z", "--node-name", "n"]));
    assert!(!is_fine(&["--zone", "z"]) && !is_fine(&["--node-name", "n"]));
}

#[test]
fn options_of_tls_belong_together() {
    let is_fine = |arguments: &[&str]| Args::try_parse_from(["silt", "serve"].iter().chain(arguments)).is_ok();
    let (cert, key, ca) = (["--tls-cert", "c"], ["--tls-key", "k"], ["--tls-client-ca", "a"]);
    assert!(is_fine(&[cert, key].concat()));
    assert!(is_fine(&[cert, key, ca].concat()));
    assert!(!is_fine(&cert) && !is_fine(&key) && !is_fine(&ca) && !is_fine(&[key, ca].concat()));
    assert!(!is_fine(&[&[cert, key].concat()[..], &["--insecure-listen"]].concat()));
    assert!(!is_fine(&[&[cert, key].concat()[..], &["--no-tcp"]].concat()));
}
