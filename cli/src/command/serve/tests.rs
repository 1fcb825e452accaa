use clap::Parser;

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
    assert_eq!(serve(&[]).listen_address().unwrap(), Some("127.0.0.1:10809".parse().unwrap()));
    assert!(serve(&["--listen", "[::1]:1"]).listen_address().unwrap().is_some());
    let refused = serve(&["--listen", "0.0.0.0:10809"]).listen_address().unwrap_err();
    assert_eq!(refused.kind, Kind::Invalid);
    assert!(serve(&["--listen", "10.0.0.1:1", "--insecure-listen"]).listen_address().unwrap().is_some());
    let tls = ["--listen", "10.0.0.1:1", "--tls-cert", "c", "--tls-key", "k"];
    assert!(serve(&tls).listen_address().unwrap().is_some());
    assert_eq!(serve(&["--no-tcp"]).listen_address().unwrap(), None);
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
