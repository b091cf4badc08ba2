#include "attempt.h"
static volatile long cell = 1;

int main(void) {
    pid_t v = fork();
    if (!v) {
        for (int i = 0; i < 300 && cell == 1; i++)
            sleep_ms(10);
        _exit(cell == 0x1337 ? 7 : 0);
    }
    pid_t a = fork();
    if (!a) {
        if (attempt("PTRACE_ATTACH sibling", ptrace(PTRACE_ATTACH, v, 0, 0)) < 0)
            _exit(1);
        waitpid(v, 0, __WALL);
        long r = ptrace(PTRACE_POKEDATA, v, (void *)&cell, 0x1337);
        attempt("PTRACE_POKEDATA", r);
        ptrace(PTRACE_DETACH, v, 0, 0);
        _exit(r ? 1 : 0);
    }
    int st;
    waitpid(a, &st, 0);
    attempts++;
    if (WEXITSTATUS(st))
        kill(v, SIGKILL);
    waitpid(v, &st, 0);
    if (WIFEXITED(st) && WEXITSTATUS(st) == 7)
        effect("memory of a sibling changed by ptrace");
    return finish();
}
