/* io_uring without a library: one request at a time, by the three system calls' numbers. */
#ifndef RING_H
#define RING_H
#include "attempt.h"
#include <linux/io_uring.h>

struct ring {
    int fd;
    char *requests, *completions; /* the two rings */
    struct io_uring_sqe *entries;
    struct io_uring_params layout;
};

static inline void *ring_map(int fd, size_t size, off_t what) {
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);
}

/* Returns -1 with errno if the kernel or a filter refuses. */
static inline int ring_setup(struct ring *ring) {
    memset(ring, 0, sizeof *ring);
    ring->fd = syscall(SYS_io_uring_setup, 1, &ring->layout);
    if (ring->fd < 0)
        return -1;
    ring->requests = ring_map(ring->fd, 4096, IORING_OFF_SQ_RING);
    ring->completions = ring_map(ring->fd, 4096, IORING_OFF_CQ_RING);
    ring->entries = ring_map(ring->fd, 4096, IORING_OFF_SQES);
    return 0;
}

static inline unsigned *ring_word(char *ring, unsigned offset) {
    return (unsigned *)(ring + offset);
}

/* The result of one request, as a system call has it: -1 with errno. */
static inline int ring_call(struct ring *ring, struct io_uring_sqe request) {
    unsigned *tail = ring_word(ring->requests, ring->layout.sq_off.tail);
    unsigned *head = ring_word(ring->completions, ring->layout.cq_off.head);
    struct io_uring_cqe *done = (void *)(ring->completions + ring->layout.cq_off.cqes);
    unsigned mask = *ring_word(ring->completions, ring->layout.cq_off.ring_mask);
    *ring->entries = request;
    *ring_word(ring->requests, ring->layout.sq_off.array) = 0;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
        return -1;
    int result = done[*head & mask].res;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    errno = result < 0 ? -result : 0;
    return result < 0 ? -1 : result;
}

static inline int ring_open(struct ring *ring, const char *path, int flags) {
    return ring_call(ring, (struct io_uring_sqe){.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD,
                                                 .addr = (uintptr_t)path, .open_flags = flags});
}

static inline int ring_read(struct ring *ring, int fd, char *bytes, unsigned size) {
    return ring_call(ring, (struct io_uring_sqe){.opcode = IORING_OP_READ, .fd = fd, .addr = (uintptr_t)bytes,
                                                 .len = size});
}

static inline int ring_connect(struct ring *ring, int fd, const void *to, unsigned size) {
    return ring_call(ring, (struct io_uring_sqe){.opcode = IORING_OP_CONNECT, .fd = fd, .addr = (uintptr_t)to,
                                                 .off = size});
}
#endif
