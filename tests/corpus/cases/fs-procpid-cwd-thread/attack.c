#include "attempt.h"

/* The program's first thread sleeps, and its name is a worker's of some server. */
static void *work(void *unused) {
    char path[64], token[64] = "";
    prctl(PR_SET_NAME, "tokio-runtime-w");
    snprintf(path, sizeof path, "/proc/%s/cwd/secret", from_env("HOST_PID", "1"));
    int fd = attempt("open by a thread", open(path, O_RDONLY));
    if (fd >= 0 && read(fd, token, sizeof token - 1) > 0)
        canary(token);
    return unused;
}

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    sleep_ms(300);
    pthread_join(thread, NULL);
    return finish();
}
