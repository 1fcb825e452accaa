/* Siltstone's reading side for C. Made by cbindgen from src/bindings/c; see docs/library.md.
 *
 * Every function that can fail returns a silt_status: SILT_STATUS_OK, SILT_STATUS_END from functions that end in _next, or a negative
 * code, and then silt_error_message() says more. Handles are opaque; each has a function that closes it, after which it must not be
 * used. A null pointer where none may be is SILT_STATUS_INVALID, never a crash. Any other pointer is believed: it is a handle that this
 * library gave and that is open, text that ends in a zero, or room for what the function says, which nobody else uses meanwhile.
 * Nothing is thrown and no signal is handled here; a process that forks must not use handles from before in the child.
 */


#ifndef SILTSTONE_H
#define SILTSTONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The version of what this header promises. It grows when something that was there changes or goes; what is added leaves it.
// Compare it with silt_abi_version().
#define SILT_ABI_VERSION 1

// What a call came to. Below 0 it failed, and silt_error_message() says more. More codes may come: take those that you do not
// know as SILT_STATUS_OTHER.
enum silt_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Done.
  SILT_STATUS_OK = 0,
  // Of functions that end in _next: there is no more.
  SILT_STATUS_END = 1,
  // The thing named does not exist: check the name.
  SILT_STATUS_NOT_FOUND = -1,
  // The thing named exists already: choose another name.
  SILT_STATUS_EXISTS = -2,
  // Somebody else uses it: end that use, or try again later.
  SILT_STATUS_BUSY = -3,
  // No room for new data: free or add space.
  SILT_STATUS_OUT_OF_SPACE = -4,
  // What is on disk is not what was written: restore it from a backup.
  SILT_STATUS_CORRUPT = -5,
  // The request makes no sense, or a pointer is null: correct it.
  SILT_STATUS_INVALID = -6,
  // It can only be read.
  SILT_STATUS_READ_ONLY = -7,
  // The store was closed, or its daemon is gone: open it, or connect to it, again.
  SILT_STATUS_UNAVAILABLE = -8,
  // The other side, or what wrote the store, is newer: use the newer version. Or a replicated volume cannot do it yet, as it has no
  // fingerprints and no root.
  SILT_STATUS_UNSUPPORTED = -9,
  // Ended by the caller's own wish. No function here can be ended yet.
  SILT_STATUS_CANCELLED = -10,
  // The store met an I/O error it must not retry, and has stopped: close it and open it again.
  SILT_STATUS_STOPPED = -11,
  // The machine failed to do an I/O. Through a daemon also where the store itself would say SILT_STATUS_CORRUPT or
  // SILT_STATUS_STOPPED: its log and silt status say which.
  SILT_STATUS_IO = -12,
  // None of these: the message says more. It may be a defect.
  SILT_STATUS_OTHER = -13,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum silt_status silt_status;
#else
typedef int32_t silt_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a range holds.
enum silt_content
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Data.
  SILT_CONTENT_DATA = 0,
  // Zeros that were asked for and count as allocated.
  SILT_CONTENT_ZEROS = 1,
  // Nothing; reads as zeros.
  SILT_CONTENT_HOLE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum silt_content silt_content;
#else
typedef int32_t silt_content;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What is data. One thread at a time uses it.
typedef struct silt_allocation_iter silt_allocation_iter;

// What changed. One thread at a time uses it.
typedef struct silt_changes_iter silt_changes_iter;

// What blocks hold. One thread at a time uses it.
typedef struct silt_fingerprints_iter silt_fingerprints_iter;

// A list of volumes or snapshots, as it was when it was asked for. One thread at a time uses it.
typedef struct silt_list silt_list;

// An open store. Any number of threads may use it at once; one closes it when no other uses it any more.
typedef struct silt_store silt_store;

// An open volume or snapshot. Any number of threads may use it at once; one closes it when no other uses it any more. As long as
// it is open it is not removed.
typedef struct silt_view silt_view;

// A volume or snapshot as a list shows it.
typedef struct silt_info {
  // Its name: of a snapshot "VOLUME@NAME". Valid until the list's next silt_list_next() or silt_list_close().
  const char *name;
  // Its id, never used for another volume or snapshot of the store; a later snapshot has a larger one. Of a replicated volume it is the
  // cluster's number, which may also be the id of something else, and snapshots of such volumes have 0.
  uint64_t id;
  // Its size in bytes.
  uint64_t size_bytes;
  // When it was made, in milliseconds since the Unix epoch.
  uint64_t created_ms;
} silt_info;

// Bytes that differ.
typedef struct silt_range {
  // Where they begin.
  uint64_t offset;
  // How many.
  uint64_t len;
} silt_range;

// A block, or zeros.
typedef struct silt_fingerprint {
  // Where it begins: at a block of 4 KiB.
  uint64_t offset;
  // How many bytes: of data one block, cut by the end of the volume; of zeros as many blocks as follow one another.
  uint64_t len;
  // It reads as zeros, allocated or not; fingerprint is all zeros then.
  bool is_zeros;
  // BLAKE3-256 of the block's 4,096 bytes; what lies beyond the end of the volume counts as zeros.
  uint8_t fingerprint[32];
} silt_fingerprint;

// A range of one content.
typedef struct silt_extent {
  // Where it begins.
  uint64_t offset;
  // How many bytes.
  uint64_t len;
  // What all of it holds.
  silt_content content;
} silt_extent;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the library that is there at run time: it fits this header if it is SILT_ABI_VERSION.
//
// Any thread, any time.
uint32_t silt_abi_version(void);

// Lists all volumes, by name.
//
// Any thread. *list is set only if the call succeeds, and then is for silt_list_close().
silt_status silt_volumes(const struct silt_store *store, struct silt_list **list);

// Lists the snapshots of a volume, from the oldest, or of all volumes if volume is NULL.
//
// Any thread. *list is set only if the call succeeds, and then is for silt_list_close().
silt_status silt_snapshots(const struct silt_store *store,
                           const char *volume,
                           struct silt_list **list);

// Fills *info with the next of a list. SILT_STATUS_END when there is none; *info is as before then.
//
// One thread at a time.
silt_status silt_list_next(struct silt_list *list, struct silt_info *info);

// Closes a list. Does nothing with NULL.
//
// One thread, when no other uses the handle any more.
void silt_list_close(struct silt_list *list);

// Compares a volume or snapshot with an earlier one of the same store and family: one is a snapshot or clone of the other, or both are
// of a third. What no range names is the same for certain; what one names was written since, or lies beyond the smaller of the
// two sizes.
//
// SILT_STATUS_INVALID if the two share no past.
//
// Any thread. *changes is set only if the call succeeds, and then is for silt_changes_close(); it keeps both open.
silt_status silt_changes(const struct silt_view *view,
                         const struct silt_view *earlier,
                         struct silt_changes_iter **changes);

// Fills *range with the next range that changed, by offset. SILT_STATUS_END when there is none, and after an error.
//
// One thread at a time.
silt_status silt_changes_next(struct silt_changes_iter *changes, struct silt_range *range);

// Closes changes. Does nothing with NULL.
//
// One thread, when no other uses the handle any more.
void silt_changes_close(struct silt_changes_iter *changes);

// Asks what the blocks hold that the len bytes at offset touch: all of them in order, without gaps. Two blocks of any volumes and
// stores with one fingerprint hold the same. Costs the map and 32 bytes a block.
//
// SILT_STATUS_INVALID beyond the end.
//
// Any thread. *fingerprints is set only if the call succeeds, and then is for silt_fingerprints_close(); it keeps view open.
silt_status silt_fingerprints(const struct silt_view *view,
                              uint64_t offset,
                              uint64_t len,
                              struct silt_fingerprints_iter **fingerprints);

// Fills *fingerprint with the next block, or stretch of zeros. SILT_STATUS_END when there is none, and after an error.
//
// One thread at a time.
silt_status silt_fingerprints_next(struct silt_fingerprints_iter *fingerprints, struct silt_fingerprint *fingerprint);

// Closes fingerprints. Does nothing with NULL.
//
// One thread, when no other uses the handle any more.
void silt_fingerprints_close(struct silt_fingerprints_iter *fingerprints);

// Asks what of the len bytes at offset is data, allocated zeros, or hole: all of them in order, without gaps.
//
// SILT_STATUS_INVALID beyond the end.
//
// Any thread. *allocation is set only if the call succeeds, and then is for silt_allocation_close(); it keeps view open.
silt_status silt_allocation(const struct silt_view *view,
                            uint64_t offset,
                            uint64_t len,
                            struct silt_allocation_iter **allocation);

// Fills *extent with the next stretch. SILT_STATUS_END when there is none, and after an error.
//
// One thread at a time.
silt_status silt_allocation_next(struct silt_allocation_iter *allocation, struct silt_extent *extent);

// Closes an allocation. Does nothing with NULL.
//
// One thread, when no other uses the handle any more.
void silt_allocation_close(struct silt_allocation_iter *allocation);

// What the last call of this thread that failed has to say, in words for people; empty before the first. Valid until this thread's
// next call that fails, or its end.
//
// Any thread, any time.
const char *silt_error_message(void);

// A code in a word or two, such as "not found"; "other error" for one that this library does not know. Valid for good.
//
// Any thread, any time.
const char *silt_status_name(int32_t status);

// Opens the store in the directory dir, in this process. With read_only nothing on disk changes, and any number of processes may do
// so at once. It takes up to memory_bytes of memory, at least 128 MiB; 0 is 1 GiB.
//
// SILT_STATUS_NOT_FOUND if there is none; SILT_STATUS_BUSY if another process has it, of which silt_connect() may reach a daemon.
//
// Any thread, any time. *store is set only if the call succeeds, and then is for silt_close().
silt_status silt_open(const char *dir,
                      uint64_t memory_bytes,
                      bool read_only,
                      struct silt_store **store);

// Connects to the daemon that serves the directory dir, silt serve.
//
// SILT_STATUS_UNAVAILABLE if none does.
//
// Any thread, any time. *store is set only if the call succeeds, and then is for silt_close().
silt_status silt_connect(const char *dir, struct silt_store **store);

// Connects to the daemon that serves the directory dir; opens the store, for writing, if none does.
//
// Any thread, any time. *store is set only if the call succeeds, and then is for silt_close().
silt_status silt_connect_or_open(const char *dir, uint64_t memory_bytes, struct silt_store **store);

// Closes a store, and frees the handle whatever the result. What is still open of it may fail from then on with
// SILT_STATUS_UNAVAILABLE, and has to be closed all the same. Does nothing with NULL.
//
// SILT_STATUS_STOPPED if the disk failed, now or before.
//
// One thread, when no other uses the handle any more.
silt_status silt_close(struct silt_store *store);

// Freezes what a volume holds now as the snapshot name, "VOLUME@NAME". If view is not NULL, *view is that snapshot, open, for
// silt_view_close().
//
// SILT_STATUS_EXISTS, SILT_STATUS_NOT_FOUND; SILT_STATUS_READ_ONLY of a store that is.
//
// Any thread.
silt_status silt_snapshot(const struct silt_store *store,
                          const char *name,
                          struct silt_view **view);

// Removes the snapshot name, "VOLUME@NAME".
//
// SILT_STATUS_NOT_FOUND; SILT_STATUS_BUSY while it is open; SILT_STATUS_READ_ONLY of a store that is.
//
// Any thread.
silt_status silt_remove_snapshot(const struct silt_store *store, const char *name);

// Opens a volume by its name, or a snapshot by "VOLUME@NAME", to read.
//
// SILT_STATUS_NOT_FOUND, SILT_STATUS_INVALID if it cannot be a name.
//
// Any thread. *view is set only if the call succeeds, and then is for silt_view_close().
silt_status silt_view_open(const struct silt_store *store,
                           const char *name,
                           struct silt_view **view);

// Closes a volume or snapshot. Through a daemon it waits until that has let go, a few milliseconds as a rule. Does nothing with NULL.
//
// One thread, when no other uses the handle any more. What was opened of it, such as its changes, stays valid.
void silt_view_close(struct silt_view *view);

// The size in bytes that it had when it was opened; 0 of NULL, which no volume has.
//
// Any thread.
uint64_t silt_view_size_bytes(const struct silt_view *view);

// Its id, as in silt_info; 0 of NULL.
//
// Any thread.
uint64_t silt_view_id(const struct silt_view *view);

// Reads len bytes at offset, of any alignment, into buf. What was never written is zeros.
//
// SILT_STATUS_INVALID beyond the end; SILT_STATUS_CORRUPT if what is on disk is not what was written, which is never handed out. What
// buf holds is unspecified then.
//
// Any thread.
silt_status silt_read_at(const struct silt_view *view,
                         uint64_t offset,
                         void *buf,
                         size_t len);

// Computes the root of a volume or snapshot: one digest of all that it holds, the same for equal content in any store; silt verify
// prints it. Reads no data, and costs the map and 32 bytes for each block of 4 KiB.
//
// Any thread.
silt_status silt_root(const struct silt_view *view,
                      uint8_t (*digest)[32]);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SILTSTONE_H */
