use super::*;

#[test]
fn buffers_are_aligned_and_zero_at_any_length() {
    for len in [0, 1, 511, 4096, 4097, 1 << 20] {
        let buffer = AlignedBuffer::zeroed(len);
        assert_eq!(buffer.len(), len);
        assert_eq!(buffer.as_ptr().addr() % DIRECT_ALIGNMENT, 0);
        assert!(buffer.iter().all(|&byte| byte == 0));
    }
}

#[test]
fn moving_a_buffer_leaves_its_memory_in_place() {
    let buffer = AlignedBuffer::zeroed(4096);
    let before = buffer.as_ptr();
    let boxed = Box::new(buffer);
    assert_eq!(boxed.as_ptr(), before);
}

#[test]
fn a_pool_gives_back_the_same_memory() {
    let pool = BufferPool::new(1 << 20);
    let first = pool.take(10_000);
    let memory = first.as_ptr();
    assert_eq!((first.len(), first.capacity()), (10_000, 16_384));
    pool.put(first);
    assert_eq!(pool.idle_bytes(), 16_384);
    let again = pool.take(16_384);
    assert_eq!(again.as_ptr(), memory);
    assert_eq!((again.len(), pool.idle_bytes()), (16_384, 0));
}

#[test]
fn a_pool_keeps_no_more_than_its_limit() {
    let pool = BufferPool::new(3 * 4096);
    let taken: Vec<_> = (0..4).map(|_| pool.take(1)).collect();
    for buffer in taken {
        pool.put(buffer);
    }
    assert_eq!(pool.idle_bytes(), 3 * 4096);
    pool.put(AlignedBuffer::zeroed(5000));
    assert_eq!(pool.idle_bytes(), 3 * 4096, "a buffer of no size class is freed");
}

#[test]
#[should_panic(expected = "cannot hold")]
fn a_buffer_is_never_shown_beyond_its_memory() {
    AlignedBuffer::zeroed(4096).set_len(4097);
}
