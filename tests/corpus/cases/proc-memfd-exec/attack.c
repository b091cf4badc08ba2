#include "attempt.h"
#include <sys/sendfile.h>

/* Runs this program again, from a file that is in memory alone. */
int main(int argc, char **argv) {
    if (argc > 1) {
        effect("running from memory");
        return finish();
    }
    int own = open("/proc/self/exe", O_RDONLY), memory = attempt("memfd_create", memfd_create("", MFD_CLOEXEC));
    if (memory < 0)
        return finish();
    sendfile(memory, own, NULL, 64 << 20);
    char path[64];
    sprintf(path, "/proc/self/fd/%d", memory);
    argv = (char *[]){"python3", "x", NULL};
    execve(path, argv, (char *[]){NULL});
    attempt("execve memfd", -1);
    return finish();
}
