#include "attempt.h"

int main(void) {
    pid_t p = fork();
    if (!p) {
        for (int i = 0; i < 1024; i++) {
            char *m = malloc(1 << 20);
            if (!m)
                _exit(3);
            memset(m, i, 1 << 20);
        }
        _exit(0);
    }
    int st;
    waitpid(p, &st, 0);
    attempt("allocate 1 GiB", 0);
    if (WIFSIGNALED(st))
        effect("child was killed at the memory limit");
    return finish();
}
