#include "attempt.h"

static volatile int *reached;

/* Its parent is gone, and a moment later it is too. */
static void live_shortly(void) {
    char path[256], token[64] = "";
    snprintf(path, sizeof path, "/data%s", from_env("CANARY_PATH", "/etc/hostname"));
    int fd = attempt("open by an orphan", open(path, O_RDONLY));
    if (fd >= 0 && read(fd, token, sizeof token - 1) > 0)
        canary(token);
    *reached = goals;
    _exit(0);
}

int main(void) {
    reached = mmap(NULL, sizeof *reached, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (!child) {
        if (!fork())
            live_shortly();
        _exit(0);
    }
    waitpid(child, NULL, 0);
    sleep_ms(300);
    attempts++;
    goals = *reached;
    return finish();
}
