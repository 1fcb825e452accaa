/* Gives fio's writes the content of real files: loaded before libnbd, it fills each buffer just before it is sent.
 *
 * fio can only write bytes that it makes itself, and those compress six times faster than binaries do. The blocks
 * come from the file BENCH_CONTENT in order, from a random start, and each gets eight bytes that no other block has,
 * so that the content compresses as real files do and yet never repeats. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 4096, STAMP_AT = 2048 };

struct handle;
typedef struct {
    int (*callback)(void *user_data, int *error);
    void *user_data;
    void (*free)(void *user_data);
} completion;
typedef int64_t write_fn(struct handle *, const void *, size_t, uint64_t, completion, uint32_t);

static char *content;
static uint64_t block_count, seed;
static atomic_uint_fast64_t next;
static write_fn *send_write;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

__attribute__((constructor)) static void load(void)
{
    const char *path = getenv("BENCH_CONTENT");
    struct stat stat;
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0 || fstat(file, &stat) != 0)
        die("BENCH_CONTENT");
    block_count = (uint64_t)stat.st_size / BLOCK;
    content = malloc(block_count * BLOCK);
    for (uint64_t at = 0; at < block_count * BLOCK;) {
        ssize_t got = read(file, content + at, block_count * BLOCK - at);
        if (got <= 0)
            die("read");
        at += (uint64_t)got;
    }
    close(file);
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        die("getrandom");
    send_write = (write_fn *)dlsym(RTLD_NEXT, "nbd_aio_pwrite");
}

int64_t nbd_aio_pwrite(struct handle *handle, const void *buffer, size_t count, uint64_t offset, completion done, uint32_t flags)
{
    /* The buffer is the load generator's own, and it does not look at it again. */
    char *block = (char *)buffer;
    for (size_t left = count; left >= BLOCK; left -= BLOCK, block += BLOCK) {
        uint64_t number = atomic_fetch_add(&next, 1);
        uint64_t stamp = (seed + number) * 0x9e3779b97f4a7c15u;
        memcpy(block, content + (seed + number) % block_count * BLOCK, BLOCK);
        memcpy(block + STAMP_AT, &stamp, sizeof stamp);
    }
    return send_write(handle, buffer, count, offset, done, flags);
}
