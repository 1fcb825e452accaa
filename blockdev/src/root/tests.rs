use proptest::prelude::*;

use super::*;

fn fingerprint(seed: u64) -> Fingerprint {
    Fingerprint(*blake3::hash(&seed.to_le_bytes()).as_bytes())
}

/// As `docs/roots.md` says it: all leaves, then level by level.
fn naive(domain: u32, size_bytes: u64, leaves: &[Option<Fingerprint>]) -> Root {
    let mut level: Vec<Digest> = leaves.iter().map(|leaf| leaf.map_or([0; 32], |leaf| leaf.0)).collect();
    let mut height = 0;
    while level.len() > 1 || height == 0 && leaves.is_empty() {
        height += 1;
        let zero = (1..height).fold([0; 32], |zero, height| naive_node(height, &[zero; 16]));
        level.resize(level.len().next_multiple_of(16), zero);
        level = level.chunks(16).map(|below| naive_node(height, below)).collect();
    }
    let mut bytes = domain.to_le_bytes().to_vec();
    bytes.extend(size_bytes.to_le_bytes());
    bytes.extend(level[0]);
    Root { domain, digest: blake3::derive_key("siltstone 2026-11-26 root", &bytes) }
}

fn naive_node(height: u8, below: &[Digest]) -> Digest {
    let mut bytes = vec![height];
    below.iter().for_each(|digest| bytes.extend(digest));
    blake3::derive_key("siltstone 2026-11-26 node of a root", &bytes)
}

/// Zeros that follow one another are pushed together.
fn built(domain: u32, size_bytes: u64, leaves: &[Option<Fingerprint>]) -> Root {
    let mut builder = RootBuilder::new(domain, size_bytes);
    for alike in leaves.chunk_by(|a, b| a.is_none() && b.is_none()) {
        match alike {
            [Some(leaf)] => builder.push(leaf),
            zeros => builder.push_zeros(zeros.len() as u64),
        }
    }
    assert_eq!(builder.data_blocks(), leaves.iter().flatten().count() as u64);
    builder.finish()
}

proptest! {
    #[test]
    fn a_root_is_that_of_the_whole_tree(
        runs in prop::collection::vec((any::<bool>(), 1..400_u64), 1..12),
        cut in 0..4096_u64,
        domain in 0..3_u32,
    ) {
        let leaf = |(is_data, count): &(bool, u64)| (0..*count).map(|seed| is_data.then(|| fingerprint(seed))).collect();
        let leaves: Vec<Option<Fingerprint>> = runs.iter().flat_map::<Vec<_>, _>(leaf).collect();
        let size_bytes = leaves.len() as u64 * 4096 - cut;
        prop_assert_eq!(built(domain, size_bytes, &leaves), naive(domain, size_bytes, &leaves));
    }

    #[test]
    fn a_root_is_read_as_it_is_written(domain: u32, digest: [u8; 32]) {
        let root = Root { domain, digest };
        prop_assert_eq!(root.to_string().parse(), Ok(root));
    }
}

#[test]
fn every_leaf_place_and_size_counts() {
    let leaves: Vec<_> = (0..300).map(|seed| (seed % 3 > 0).then(|| fingerprint(seed))).collect();
    let size = 300 * 4096;
    let root = built(0, size, &leaves);
    for at in 0..300 {
        let mut other = leaves.clone();
        other[at] = Some(fingerprint(1000));
        assert_ne!(built(0, size, &other), root);
        other.swap(at, (at + 1) % 300);
        assert_ne!(built(0, size, &other), root);
    }
    assert_ne!(built(0, size - 1, &leaves), root);
    assert_ne!(built(1, size, &leaves).digest, root.digest);
    let longer = [leaves, vec![None]].concat();
    assert_ne!(built(0, size + 1, &longer), root);
}

#[test]
fn golden_roots() {
    let zeros = |size: u64| {
        let mut builder = RootBuilder::new(0, size);
        builder.push_zeros(size.div_ceil(4096));
        builder.finish().to_string()
    };
    assert_eq!(zeros(1), GOLDEN[0]);
    assert_eq!(zeros(1 << 50), GOLDEN[1]);
    let mut builder = RootBuilder::new(0, 5);
    let mut block = [0; 4096];
    block[..5].copy_from_slice(b"hello");
    builder.push(&Fingerprint::of(&block));
    assert_eq!(builder.finish().to_string(), GOLDEN[2]);
    let leaves: Vec<_> = (0..17).map(|seed| (seed != 3).then(|| fingerprint(seed))).collect();
    assert_eq!(built(0, 17 * 4096, &leaves).to_string(), GOLDEN[3]);
    assert_eq!(built(7, 17 * 4096, &leaves).to_string(), GOLDEN[4]);
}

/// Computed by another program, from the document.
const GOLDEN: [&str; 5] = [
    "9aaa78ab34bac927d2c210839198eb264aa4c1ad582b6bdb78d70bb088f4aa2a",
    "346bf994e7e7b4acfbad735465e94217fa5e49e128e6bc71452eb5ea84a7ca23",
    "3a3b89b982849c5c32bd153fba86190616029343e05c49ff4954f621e86cc2dc",
    "77ec64293eda5bef8c3bfe26ee8c767f4c80cf43371448ad48d2f512c6454b86",
    "7-8201d98f5a44eda97556536f22b075c8c30d4d797c6bc0e8536fd59f436f808d",
];

#[test]
fn what_is_not_a_root_is_refused() {
    let root = Root { domain: 0, digest: [0xab; 32] }.to_string();
    assert_eq!(root.len(), 64);
    assert_eq!(root.to_uppercase().parse(), root.parse::<Root>());
    assert_eq!(format!("0-{root}").parse(), root.parse::<Root>());
    let invalid =
        [&root[1..], "", &format!("{root}0"), &format!("x-{root}"), &format!("-{root}"), &format!("+1-{root}")];
    for text in invalid {
        assert_eq!(text.parse::<Root>(), Err(InvalidRoot), "{text}");
    }
    assert!("0-éééééééééééééééééééééééééééééééé".parse::<Root>().is_err());
}

#[test]
#[should_panic(expected = "as many blocks")]
fn blocks_beyond_the_size_are_a_defect() {
    let mut builder = RootBuilder::new(0, 4096);
    builder.push_zeros(1);
    builder.push(&fingerprint(1));
}
