use proptest::prelude::*;

use super::{Joined, Overlay, Stream};
use crate::map::Stretch;
use crate::map::testing::{Model, ordered};

proptest! {
    #[test]
    fn the_newest_stream_wins(streams in prop::collection::vec(ordered(2, 30), 0..5)) {
        let mut model = Model::default();
        streams.iter().rev().flatten().for_each(|stretch| model.write(stretch));
        let boxed = streams.into_iter().map(|stretches| Box::new(stretches.into_iter().map(Ok)) as Stream).collect();
        let pieces = Overlay::new(boxed).map(|piece| piece.map(|(_, stretch)| stretch));
        let merged: Vec<Stretch> = Joined::new(pieces).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(merged, model.stretches());
    }
}
