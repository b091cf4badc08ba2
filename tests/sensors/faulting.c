// Puts a page that a userfaultfd answers for, and nobody answers, where its command line was.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static void __attribute__((noinline)) hide(char *page, int faults) {
    struct uffdio_register range = {
        .range = {(unsigned long)page, 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != page)
        _exit(1);
    if (ioctl(faults, UFFDIO_REGISTER, &range))
        _exit(1);
    if (write(1, "ready\n", 6) != 6)
        _exit(1);
    for (;;)
        pause();
}

int main(int count, char **arguments) {
    char far_from_the_arguments[65536];
    struct uffdio_api api = {.api = UFFD_API};
    int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    (void)count;
    memset(far_from_the_arguments, 0, sizeof far_from_the_arguments);
    if (faults < 0 || ioctl(faults, UFFDIO_API, &api))
        return 1;
    hide((char *)((unsigned long)arguments[0] & ~4095UL), faults);
    return far_from_the_arguments[0];
}
