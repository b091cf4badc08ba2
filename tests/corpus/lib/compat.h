/* System calls by the 32-bit entry, whose pointers have 32 bits: a static program and its data lie below 4 GiB. */
#ifndef COMPAT_H
#define COMPAT_H
#include "attempt.h"

#define COMPAT_READ 3
#define COMPAT_OPEN 5
#define COMPAT_PTRACE 26
#define COMPAT_SOCKETCALL 102

/* Returns -1 with errno. Where a filter kills, it does not return. */
static inline long int80(long number, long a, long b, long c, long d) {
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d)
                     : "memory", "r8", "r9", "r10", "r11");
    result = (int)result;
    errno = result < 0 ? -result : 0;
    return result < 0 ? -1 : result;
}

static inline long address32(const volatile void *pointer) {
    return (long)(uint32_t)(uintptr_t)pointer;
}

/* Runs `body` in a child, for the filter may kill it. Returns its exit status, -1 with EPERM if it was killed. */
static inline int spared(int (*body)(void)) {
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (!child)
        _exit(body());
    waitpid(child, &status, 0);
    errno = EPERM;
    return WIFSIGNALED(status) ? -1 : WEXITSTATUS(status);
}
#endif
