use super::{Specimen, edited};

#[test]
fn edits_stay_within_the_bytes() {
    let golden: Vec<u8> = (0..100).collect();
    assert_eq!(edited(&golden, &[]), golden);
    assert_eq!(edited(&golden, &[2, 0, 10, 0, 0]), golden[..10]);
    assert_eq!(edited(&golden, &[1, 1, 98, 0, 0, 9, 9]), golden[..98]);
    assert_eq!(edited(&golden, &[4, 1, 99, 0, 0, 7, 7])[98..], [98, 7]);
    assert_eq!(edited(&golden, &[0, 1, 0, 0, 0, 7, 8])[..3], [7, 8, 0]);
    assert!(edited(&[], &[4, 31, 255, 255, 255, 7]).is_empty());
}

#[test]
fn edited_stores_give_the_right_bytes_or_an_error() {
    let specimen = Specimen::make().unwrap();
    for directory in ["superblock", "manifest/", "journal/", "segments/", "runs/"] {
        specimen.try_script(directory, &[0]).unwrap();
        for place in (0..64).map(|n: u8| n.wrapping_mul(37)) {
            specimen.try_script(directory, &[place, 3, 1, place, place % 8, 0]).unwrap();
            specimen.try_script(directory, &[place, 2, 1, place, place % 8, 0]).unwrap();
        }
    }
}
