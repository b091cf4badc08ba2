/* udpsink PORT: logs the printable part of every datagram, and sends the same bytes back. */
#include "attempt.h"

static void show(int port, const unsigned char *bytes, ssize_t count) {
    printf("udp:%d: ", port);
    for (ssize_t i = 0; i < count; i++)
        putchar(bytes[i] > ' ' && bytes[i] < 127 ? bytes[i] : '.');
    putchar('\n');
    fflush(stdout);
}

int main(int argc, char **argv) {
    int port = argc > 1 ? atoi(argv[1]) : 53;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in own = address("0.0.0.0", port);
    if (bind(fd, (void *)&own, sizeof own) < 0)
        return 1;
    for (;;) {
        unsigned char bytes[512];
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t count = recvfrom(fd, bytes, sizeof bytes, 0, (void *)&from, &length);
        if (count < 0)
            continue;
        show(port, bytes, count);
        sendto(fd, bytes, count, 0, (void *)&from, length);
    }
}
