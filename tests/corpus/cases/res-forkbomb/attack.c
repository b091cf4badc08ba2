#include "attempt.h"

int main(void) {
    int n = 0;
    pid_t p[512];
    for (; n < 500; n++) {
        p[n] = fork();
        if (p[n] < 0) {
            attempt("fork", -1);
            break;
        }
        if (!p[n]) {
            pause();
            _exit(0);
        }
    }
    char b[64];
    sprintf(b, "forked %d", n);
    effect(b);
    sleep_ms(300);
    for (int i = 0; i < n; i++) {
        kill(p[i], SIGKILL);
        waitpid(p[i], 0, 0);
    }
    return finish();
}
