/* Keeps a raw image up to date with the snapshots of a volume: the first time all data is copied, later what changed.
 *
 *   incremental DIRECTORY VOLUME@NEW IMAGE               copies all of VOLUME@NEW into a new file
 *   incremental DIRECTORY VOLUME@NEW IMAGE VOLUME@OLD    brings IMAGE, which holds VOLUME@OLD, up to VOLUME@NEW
 *
 * docs/library.md shows how to compile it.
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "siltstone.h"

enum { PIECE_BYTES = 1 << 20 };

static char piece[PIECE_BYTES];

static void fail(const char *what)
{
    fprintf(stderr, "incremental: %s\n", what);
    exit(1);
}

/* Ends the program if a call failed, and says whether there was a result. */
static bool check(silt_status status)
{
    if (status < 0)
        fail(silt_error_message());
    return status == SILT_STATUS_OK;
}

static uint64_t copy(const silt_view *from, int to, uint64_t offset, uint64_t len)
{
    uint64_t end = offset + len;
    while (offset < end) {
        size_t step = end - offset < PIECE_BYTES ? end - offset : PIECE_BYTES;
        check(silt_read_at(from, offset, piece, step));
        if (pwrite(to, piece, step, (off_t)offset) != (ssize_t)step)
            fail("the image cannot be written");
        offset += step;
    }
    return len;
}

/* Copies what is data into a file that has none yet. */
static uint64_t copy_all(const silt_view *from, int to)
{
    silt_allocation_iter *stretches;
    silt_extent stretch;
    uint64_t copied = 0;
    check(silt_allocation(from, 0, silt_view_size_bytes(from), &stretches));
    while (check(silt_allocation_next(stretches, &stretch)))
        if (stretch.content == SILT_CONTENT_DATA)
            copied += copy(from, to, stretch.offset, stretch.len);
    silt_allocation_close(stretches);
    return copied;
}

static uint64_t copy_changes(const silt_view *from, const silt_view *since, int to)
{
    silt_changes_iter *changes;
    silt_range range;
    uint64_t copied = 0, size = silt_view_size_bytes(from);
    check(silt_changes(from, since, &changes));
    while (check(silt_changes_next(changes, &range))) {
        /* What lies beyond a smaller size has been cut off already. */
        uint64_t end = range.offset + range.len < size ? range.offset + range.len : size;
        if (range.offset < end)
            copied += copy(from, to, range.offset, end - range.offset);
    }
    silt_changes_close(changes);
    return copied;
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5)
        fail("usage: incremental DIRECTORY VOLUME@NEW IMAGE [VOLUME@OLD]");
    if (silt_abi_version() != SILT_ABI_VERSION)
        fail("libsiltstone_c.so is of another version than siltstone.h");
    silt_store *store;
    silt_view *snapshot, *old = NULL;
    check(silt_connect_or_open(argv[1], 128 << 20, &store));
    check(silt_view_open(store, argv[2], &snapshot));
    if (argc == 5)
        check(silt_view_open(store, argv[4], &old));

    int image = open(argv[3], O_WRONLY | (old ? 0 : O_CREAT | O_EXCL), 0666);
    if (image < 0 || ftruncate(image, (off_t)silt_view_size_bytes(snapshot)) != 0)
        fail("the image cannot be opened");
    uint64_t copied = old ? copy_changes(snapshot, old, image) : copy_all(snapshot, image);
    if (fsync(image) != 0 || close(image) != 0)
        fail("the image cannot be written");
    printf("%" PRIu64 " bytes copied\n", copied);

    silt_view_close(old);
    silt_view_close(snapshot);
    check(silt_close(store));
    return 0;
}
