#include "ring.h"

/* Opened and read without a call that says so, by a path that is one only for whoever follows it. */
int main(void) {
    struct ring ring;
    char path[256], token[64] = "";
    if (attempt("io_uring_setup", ring_setup(&ring)) < 0)
        return finish();
    snprintf(path, sizeof path, "/proc/self/cwd/data%s", from_env("CANARY_PATH", "/etc/hostname"));
    if (chdir("/") < 0)
        return finish();
    int fd = attempt("open by the ring", ring_open(&ring, path, O_RDONLY));
    if (fd >= 0 && ring_read(&ring, fd, token, sizeof token - 1) > 0)
        canary(token);
    return finish();
}
