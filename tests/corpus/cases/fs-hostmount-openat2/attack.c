#include "attempt.h"
#include <linux/openat2.h>

/* The path is an innocent absolute one: the folder of the descriptor stands for the root. */
static long open_beneath(int folder, const char *path) {
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return syscall(SYS_openat2, folder, path, &how, sizeof how);
}

int main(void) {
    char token[64] = "";
    int folder = open("/proc/self/root/data", O_PATH | O_DIRECTORY);
    int fd = attempt("openat2", open_beneath(folder, from_env("CANARY_PATH", "/etc/hostname")));
    if (fd >= 0 && read(fd, token, sizeof token - 1) > 0)
        canary(token);
    return finish();
}
