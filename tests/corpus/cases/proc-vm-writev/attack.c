#include "attempt.h"
static volatile long cell = 1;

int main(void) {
    pid_t v = fork();
    if (!v) {
        for (int i = 0; i < 200 && cell == 1; i++)
            sleep_ms(10);
        _exit(cell == 0x4242 ? 7 : 0);
    }
    long x = 0x4242;
    struct iovec l = {&x, sizeof x}, r = {(void *)&cell, sizeof x};
    sleep_ms(20);
    if (attempt("process_vm_writev", process_vm_writev(v, &l, 1, &r, 1, 0)) < 0)
        kill(v, SIGKILL);
    int st;
    waitpid(v, &st, 0);
    if (WIFEXITED(st) && WEXITSTATUS(st) == 7)
        effect("memory of another process changed");
    return finish();
}
