//! Pauses between attempts.

use std::time::Duration;

use crate::environment::{Rng, SystemRng};
use crate::transport::quic::backoff::Backoff;

struct Constant(u8);

impl Rng for Constant {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

#[test]
fn pauses_double_up_to_the_longest_and_start_again() {
    let ms = Duration::from_millis;
    let mut backoff = Backoff::new((ms(50), ms(300)));
    let longest: Vec<_> = (0..5).map(|_| backoff.pause(&Constant(0xff))).collect();
    assert_eq!(longest, [ms(50), ms(100), ms(200), ms(300), ms(300)]);
    backoff.reset();
    assert_eq!(backoff.pause(&Constant(0)), ms(25));
    for _ in 0..100 {
        let pause = backoff.pause(&SystemRng);
        assert!((ms(50)..=ms(300)).contains(&pause));
    }
}
