use super::*;

#[test]
fn uris_follow_the_nbd_specification() {
    let name = "pg-data".parse().unwrap();
    let unix = Endpoint::Unix("/srv/my data/ä&b/nbd.sock".into());
    assert_eq!(unix.uri(&name), "nbd+unix:///pg-data?socket=/srv/my%20data/%C3%A4%26b/nbd.sock");
    let snapshot = "pg-data@before".parse().unwrap();
    assert_eq!(unix.uri(&snapshot), "nbd+unix:///pg-data@before?socket=/srv/my%20data/%C3%A4%26b/nbd.sock");
    assert_eq!(unix.base(), "nbd+unix:///?socket=/srv/my%20data/%C3%A4%26b/nbd.sock");
    assert_eq!(Endpoint::Tcp("127.0.0.1:10809".parse().unwrap()).uri(&name), "nbd://127.0.0.1:10809/pg-data");
    assert_eq!(Endpoint::Tls("127.0.0.1:1".parse().unwrap()).uri(&name), "nbds://127.0.0.1:1/pg-data");
    assert_eq!(Endpoint::Tls("[::1]:1".parse().unwrap()).base(), "nbds://[::1]:1/");
    assert_eq!(Endpoint::Tcp("[::1]:1".parse().unwrap()).base(), "nbd://[::1]:1/");
}
