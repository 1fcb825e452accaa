//! URIs there and back.

use proptest::prelude::*;

use super::*;

fn tcp(host: &str, port: u16, export: &str) -> NbdUri {
    NbdUri { endpoint: Endpoint::Tcp { host: host.into(), port }, export: export.into() }
}

#[test]
fn examples() {
    let unix = NbdUri { endpoint: Endpoint::Unix("/run/silt.sock".into()), export: "pool/vol".into() };
    let cases = [
        ("nbd://localhost/", tcp("localhost", 10809, "")),
        ("nbd://localhost", tcp("localhost", 10809, "")),
        ("nbd:///vol", tcp("localhost", 10809, "vol")),
        ("nbd://host:1/a/b", tcp("host", 1, "a/b")),
        ("nbd://[::1]:2/x%20y", tcp("::1", 2, "x y")),
        ("nbd://[fe80::1]/", tcp("fe80::1", 10809, "")),
        ("nbd+unix:///pool/vol?socket=/run/silt.sock", unix.clone()),
        ("nbd+unix:///pool%2Fvol?x=1&socket=%2Frun/silt.sock", unix),
    ];
    for (text, uri) in cases {
        assert_eq!(text.parse(), Ok(uri), "{text}");
    }
}

#[test]
fn refusals() {
    let cases = [
        ("http://x/", UriError::Scheme),
        ("vol", UriError::Scheme),
        ("nbds://x/", UriError::Tls),
        ("nbds+unix:///?socket=/x", UriError::Tls),
        ("nbd+unix:///vol", UriError::NoSocket),
        ("nbd+unix:///vol?socket=", UriError::NoSocket),
        ("nbd+unix://host/vol?socket=/x", UriError::Authority),
        ("nbd://host:99999/", UriError::Authority),
        ("nbd://[::1/", UriError::Authority),
        ("nbd://me@host/", UriError::Authority),
        ("nbd://host/%2", UriError::Escape),
        ("nbd://host/%+1", UriError::Escape),
        ("nbd://host/%ff", UriError::Escape),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<NbdUri>(), Err(error), "{text}");
    }
}

proptest! {
    #[test]
    fn round_trip(export in ".{0,30}", path in "/[^\0]{1,30}", host in "[a-z0-9.]{1,20}|::1", port in 1_u16..) {
        let unix = NbdUri { endpoint: Endpoint::Unix(path.into()), export: export.clone() };
        prop_assert_eq!(unix.to_string().parse(), Ok(unix));
        let tcp = tcp(&host, port, &export);
        prop_assert_eq!(tcp.to_string().parse(), Ok(tcp));
    }

    #[test]
    fn any_text_is_an_answer(text in ".{0,60}") {
        let _ = text.parse::<NbdUri>();
        let _ = format!("nbd://{text}").parse::<NbdUri>();
    }
}
