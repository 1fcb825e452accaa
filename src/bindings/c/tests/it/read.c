/* All of siltstone.h on the store that tests/it/programs.rs has made:
 *
 *   read DIRECTORY ROOT      ROOT is that of disk@new, in hexadecimal
 *
 * disk is 1 MiB and 5 bytes. disk@old has the bytes 1 at 4096, 8192 of them; disk@new also has zeros that are allocated at 4096,
 * 4096 of them, and the bytes 2 at 1048576, 5 of them.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "siltstone.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, silt_error_message()); \
            exit(1); \
        } \
    } while (0)

enum { SIZE = (1 << 20) + 5 };

static void nothing_is_done_with_null(const silt_store *store, const silt_view *view)
{
    silt_store *opened = NULL;
    silt_info info;
    silt_range range;
    unsigned char digest[32];
    CHECK(silt_open(NULL, 0, true, &opened) == SILT_STATUS_INVALID);
    CHECK(strcmp(silt_error_message(), "dir is a null pointer") == 0);
    CHECK(silt_open("/", 0, true, NULL) == SILT_STATUS_INVALID);
    CHECK(silt_connect(NULL, &opened) == SILT_STATUS_INVALID);
    CHECK(silt_connect_or_open(NULL, 0, &opened) == SILT_STATUS_INVALID);
    CHECK(silt_volumes(store, NULL) == SILT_STATUS_INVALID);
    CHECK(silt_volumes(NULL, NULL) == SILT_STATUS_INVALID);
    CHECK(silt_snapshots(store, NULL, NULL) == SILT_STATUS_INVALID);
    CHECK(silt_list_next(NULL, &info) == SILT_STATUS_INVALID);
    CHECK(silt_view_open(store, NULL, NULL) == SILT_STATUS_INVALID);
    CHECK(silt_view_open(store, "disk", NULL) == SILT_STATUS_INVALID);
    CHECK(silt_snapshot(NULL, "disk@x", NULL) == SILT_STATUS_INVALID);
    CHECK(silt_snapshot(store, NULL, NULL) == SILT_STATUS_INVALID);
    CHECK(silt_remove_snapshot(store, NULL) == SILT_STATUS_INVALID);
    CHECK(silt_read_at(NULL, 0, digest, 1) == SILT_STATUS_INVALID);
    CHECK(silt_read_at(view, 0, NULL, 1) == SILT_STATUS_INVALID);
    CHECK(silt_root(view, NULL) == SILT_STATUS_INVALID && silt_root(NULL, &digest) == SILT_STATUS_INVALID);
    CHECK(silt_changes(view, NULL, NULL) == SILT_STATUS_INVALID);
    CHECK(silt_changes_next(NULL, &range) == SILT_STATUS_INVALID);
    CHECK(silt_fingerprints(view, 0, SIZE, NULL) == SILT_STATUS_INVALID);
    CHECK(silt_fingerprints_next(NULL, NULL) == SILT_STATUS_INVALID);
    CHECK(silt_allocation(NULL, 0, SIZE, NULL) == SILT_STATUS_INVALID);
    CHECK(silt_allocation_next(NULL, NULL) == SILT_STATUS_INVALID);
    CHECK(silt_view_size_bytes(NULL) == 0 && silt_view_id(NULL) == 0);
    CHECK(opened == NULL);
    silt_list_close(NULL);
    silt_changes_close(NULL);
    silt_fingerprints_close(NULL);
    silt_allocation_close(NULL);
    silt_view_close(NULL);
    CHECK(silt_close(NULL) == SILT_STATUS_OK);
}

static void lists_show_what_there_is(const silt_store *store)
{
    silt_list *list;
    silt_info info;
    CHECK(silt_volumes(store, &list) == SILT_STATUS_OK);
    CHECK(silt_list_next(list, &info) == SILT_STATUS_OK);
    CHECK(strcmp(info.name, "disk") == 0 && info.size_bytes == SIZE && info.created_ms > 0);
    CHECK(silt_list_next(list, NULL) == SILT_STATUS_INVALID);
    CHECK(silt_list_next(list, &info) == SILT_STATUS_END);
    CHECK(silt_list_next(list, &info) == SILT_STATUS_END);
    silt_list_close(list);

    CHECK(silt_snapshots(store, NULL, &list) == SILT_STATUS_OK);
    CHECK(silt_list_next(list, &info) == SILT_STATUS_OK && strcmp(info.name, "disk@old") == 0);
    unsigned long long id = info.id;
    CHECK(silt_list_next(list, &info) == SILT_STATUS_OK && strcmp(info.name, "disk@new") == 0 && info.id > id);
    /* The rest is not taken. */
    silt_list_close(list);
    CHECK(silt_snapshots(store, "none", &list) == SILT_STATUS_NOT_FOUND);
    CHECK(silt_snapshots(store, "\xff", &list) == SILT_STATUS_INVALID);
}

static void bytes_are_read(const silt_view *view)
{
    unsigned char *bytes = malloc(SIZE);
    CHECK(bytes != NULL);
    CHECK(silt_read_at(view, 0, bytes, SIZE) == SILT_STATUS_OK);
    for (size_t at = 0; at < SIZE; at++)
        CHECK(bytes[at] == (at >= 1 << 20 ? 2 : at >= 8192 && at < 12288 ? 1 : 0));
    CHECK(silt_read_at(view, (1 << 20) - 1, bytes, 2) == SILT_STATUS_OK && bytes[0] == 0 && bytes[1] == 2);
    CHECK(silt_read_at(view, SIZE, NULL, 0) == SILT_STATUS_OK);
    CHECK(silt_read_at(view, 1, bytes, SIZE) == SILT_STATUS_INVALID);
    CHECK(silt_read_at(view, UINT64_MAX, bytes, 2) == SILT_STATUS_INVALID);
    CHECK(silt_read_at(view, 0, bytes, SIZE_MAX) == SILT_STATUS_INVALID);
    free(bytes);
}

static void ranges_are_found(const silt_view *new, const silt_view *old)
{
    silt_changes_iter *changes;
    silt_range range;
    CHECK(silt_changes(new, old, &changes) == SILT_STATUS_OK);
    CHECK(silt_changes_next(changes, &range) == SILT_STATUS_OK && range.offset == 4096 && range.len == 4096);
    CHECK(silt_changes_next(changes, &range) == SILT_STATUS_OK && range.offset == 1 << 20 && range.len == 5);
    CHECK(silt_changes_next(changes, &range) == SILT_STATUS_END);
    silt_changes_close(changes);

    silt_allocation_iter *stretches;
    silt_extent stretch;
    uint64_t at = 0;
    static const silt_content contents[] = {SILT_CONTENT_HOLE, SILT_CONTENT_ZEROS, SILT_CONTENT_DATA, SILT_CONTENT_HOLE,
                                            SILT_CONTENT_DATA};
    CHECK(silt_allocation(new, 0, SIZE, &stretches) == SILT_STATUS_OK);
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        CHECK(silt_allocation_next(stretches, &stretch) == SILT_STATUS_OK);
        CHECK(stretch.offset == at && stretch.content == contents[i]);
        at += stretch.len;
    }
    CHECK(at == SIZE && silt_allocation_next(stretches, &stretch) == SILT_STATUS_END);
    silt_allocation_close(stretches);
    CHECK(silt_allocation(new, 1, UINT64_MAX, &stretches) == SILT_STATUS_INVALID);

    silt_fingerprints_iter *blocks;
    silt_fingerprint a, b;
    CHECK(silt_fingerprints(old, 0, 12288, &blocks) == SILT_STATUS_OK);
    CHECK(silt_fingerprints_next(blocks, &a) == SILT_STATUS_OK && a.is_zeros && a.offset == 0 && a.len == 4096);
    CHECK(silt_fingerprints_next(blocks, &a) == SILT_STATUS_OK && !a.is_zeros && a.offset == 4096 && a.len == 4096);
    CHECK(silt_fingerprints_next(blocks, &b) == SILT_STATUS_OK && b.offset == 8192);
    CHECK(memcmp(a.fingerprint, b.fingerprint, sizeof a.fingerprint) == 0);
    CHECK(silt_fingerprints_next(blocks, &b) == SILT_STATUS_END);
    silt_fingerprints_close(blocks);
    CHECK(silt_fingerprints(old, 0, SIZE + 1, &blocks) == SILT_STATUS_INVALID);
}

static void roots_are_those_of_the_command(const silt_view *view, const char *expected)
{
    unsigned char digest[32];
    char text[65];
    CHECK(silt_root(view, &digest) == SILT_STATUS_OK);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    CHECK(strcmp(text, expected) == 0);
}

static void *read_much(void *view)
{
    unsigned char byte;
    for (int i = 0; i < 200; i++) {
        CHECK(silt_read_at(view, 8192 + i, &byte, 1) == SILT_STATUS_OK && byte == 1);
        /* Failures of one thread say nothing to another. */
        CHECK(silt_read_at(view, SIZE, &byte, 1) == SILT_STATUS_INVALID);
        CHECK(strstr(silt_error_message(), "beyond the end") != NULL);
    }
    return NULL;
}

static void threads_share_a_view(silt_view *view)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, read_much, view) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void snapshots_come_and_go(const char *dir)
{
    silt_store *store;
    silt_view *view;
    unsigned char byte;
    CHECK(silt_connect_or_open(dir, 128 << 20, &store) == SILT_STATUS_OK);
    silt_store *second;
    CHECK(silt_open(dir, 128 << 20, false, &second) == SILT_STATUS_BUSY);
    CHECK(silt_snapshot(store, "disk@made", &view) == SILT_STATUS_OK);
    CHECK(silt_snapshot(store, "disk@made", NULL) == SILT_STATUS_EXISTS);
    CHECK(silt_snapshot(store, "disk@more", NULL) == SILT_STATUS_OK);
    CHECK(silt_remove_snapshot(store, "disk@more") == SILT_STATUS_OK);
    CHECK(silt_remove_snapshot(store, "disk@more") == SILT_STATUS_NOT_FOUND);
    CHECK(silt_remove_snapshot(store, "disk@made") == SILT_STATUS_BUSY);
    silt_view_close(view);
    CHECK(silt_remove_snapshot(store, "disk@made") == SILT_STATUS_OK);
    CHECK(silt_view_open(store, "disk", &view) == SILT_STATUS_OK);
    CHECK(silt_close(store) == SILT_STATUS_OK);
    /* What is in memory may still be had; what is open has to be closed all the same. */
    silt_status status = silt_read_at(view, 8192, &byte, 1);
    CHECK(status == SILT_STATUS_UNAVAILABLE || (status == SILT_STATUS_OK && byte == 1));
    silt_view_close(view);
    CHECK(silt_open(dir, 128 << 20, false, &store) == SILT_STATUS_OK);
    CHECK(silt_close(store) == SILT_STATUS_OK);
}

int main(int argc, char **argv)
{
    silt_store *store = NULL;
    silt_view *new, *old;
    CHECK(argc == 3);
    CHECK(silt_abi_version() == SILT_ABI_VERSION);
    CHECK(strcmp(silt_status_name(SILT_STATUS_BUSY), "busy") == 0);
    CHECK(strcmp(silt_error_message(), "") == 0);
    CHECK(silt_open("/nowhere", 0, true, &store) == SILT_STATUS_NOT_FOUND && store == NULL);
    CHECK(strstr(silt_error_message(), "/nowhere") != NULL);
    CHECK(silt_open(argv[1], 1, true, &store) == SILT_STATUS_INVALID);
    CHECK(silt_connect(argv[1], &store) == SILT_STATUS_UNAVAILABLE);

    CHECK(silt_open(argv[1], 128 << 20, true, &store) == SILT_STATUS_OK);
    CHECK(silt_view_open(store, "disk@new", &new) == SILT_STATUS_OK);
    CHECK(silt_view_open(store, "disk@old", &old) == SILT_STATUS_OK);
    CHECK(silt_view_size_bytes(new) == SIZE && silt_view_id(new) > silt_view_id(old));
    CHECK(silt_snapshot(store, "disk@x", NULL) == SILT_STATUS_READ_ONLY);
    nothing_is_done_with_null(store, new);
    lists_show_what_there_is(store);
    bytes_are_read(new);
    ranges_are_found(new, old);
    roots_are_those_of_the_command(new, argv[2]);
    threads_share_a_view(new);
    silt_view_close(old);
    silt_view_close(new);
    CHECK(silt_close(store) == SILT_STATUS_OK);
    snapshots_come_and_go(argv[1]);
    return 0;
}
