#include "compat.h"

#define CHANGED 7
static volatile long cell = 1;

static pid_t victim(void) {
    pid_t child = fork();
    if (child)
        return child;
    for (int i = 0; i < 300 && cell == 1; i++)
        sleep_ms(10);
    _exit(cell == 0x1337 ? CHANGED : 0);
}

static pid_t target;

static int poke(void) {
    if (attempt("attach by int 0x80", int80(COMPAT_PTRACE, PTRACE_ATTACH, target, 0, 0)) < 0)
        return 1;
    waitpid(target, NULL, __WALL);
    long result = int80(COMPAT_PTRACE, PTRACE_POKEDATA, target, address32(&cell), 0x1337);
    attempt("poke by int 0x80", result);
    int80(COMPAT_PTRACE, PTRACE_DETACH, target, 0, 0);
    return result < 0;
}

int main(void) {
    int status;
    target = victim();
    if (attempt("int 0x80", spared(poke)) != 0)
        kill(target, SIGKILL);
    waitpid(target, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHANGED)
        effect("memory of a sibling changed by int 0x80");
    return finish();
}
