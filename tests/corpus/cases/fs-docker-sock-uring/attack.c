#include "engine.h"
#include "ring.h"

static struct ring ring;

static int connect_engine(void) {
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/srv/queue"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (ring_connect(&ring, fd, &to, sizeof to) == 0)
        return fd;
    attempt("connect by the ring", -1);
    close(fd);
    return -1;
}

int main(void) {
    if (attempt("io_uring_setup", ring_setup(&ring)) < 0)
        return finish();
    return use_engine();
}
