//! The device in memory against a plain vector.

use proptest::prelude::*;

use super::*;

const SIZE: usize = 5 * BLOCK_BYTES + 100;

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(usize, usize, u8)>),
    Zero(usize, usize, Zeroing),
}

fn any_step() -> impl Strategy<Value = Step> {
    let range = (0..SIZE).prop_flat_map(|from| (Just(from), 0..=SIZE - from));
    let write = (range.clone(), any::<u8>()).prop_map(|((from, len), byte)| (from, len, byte));
    prop_oneof![
        prop::collection::vec(write, 1..4).prop_map(Step::Write),
        (range, any::<bool>()).prop_map(|((from, len), hole)| {
            Step::Zero(from, len, if hole { Zeroing::Hole } else { Zeroing::Allocated })
        }),
    ]
}

fn read(export: &MemoryExport, offset: usize, len: usize) -> Vec<u8> {
    let mut reads = export.requests().unwrap();
    reads.start_read(9, offset as u64, len);
    let (token, data) = reads.next_read().unwrap();
    assert_eq!(token, 9);
    let mut out = vec![0; len];
    data.unwrap().copy_to(&mut out);
    out
}

proptest! {
    #[test]
    fn behaves_like_a_vector(steps in prop::collection::vec(any_step(), 0..20)) {
        let export = MemoryExport::new(SIZE as u64);
        let mut model = vec![0; SIZE];
        for step in steps {
            match step {
                Step::Write(group) => {
                    let payloads: Vec<_> = group.iter().map(|&(_, len, byte)| vec![byte; len]).collect();
                    let writes = group.iter().zip(&payloads);
                    let writes: Vec<_> =
                        writes.map(|(&(from, ..), data)| Write { offset: from as u64, data }).collect();
                    export.write(&writes).unwrap();
                    group.iter().for_each(|&(from, len, byte)| model[from..from + len].fill(byte));
                }
                Step::Zero(from, len, zeroing) => {
                    export.zero(from as u64, len as u64, zeroing).unwrap();
                    model[from..from + len].fill(0);
                }
            }
            prop_assert!(read(&export, 0, SIZE) == model);
            let mut at = 0;
            for extent in export.block_status(0, SIZE as u64, 100).unwrap() {
                let len = extent.len as usize;
                prop_assert!(extent.state == BlockState::Data || model[at..at + len].iter().all(|&byte| byte == 0));
                at += len;
            }
            prop_assert_eq!(at, SIZE);
        }
    }
}

#[test]
fn ranges_past_the_end_are_refused() {
    let export = MemoryExport::new(4096);
    assert!(export.write(&[Write { offset: 4096, data: b"x" }]).is_err());
    assert!(export.zero(u64::MAX, 2, Zeroing::Hole).is_err());
    export.resize(8192);
    assert!(export.write(&[Write { offset: 4096, data: b"x" }]).is_ok());
    assert!(MemoryExport::read_only(4096).zero(0, 1, Zeroing::Hole).is_err());
}
