/* How a case in C says what it did, one line each on stdout:
 *
 *   ATTEMPT <what> ret=<r> errno=<n> (<text>)   a call was made
 *   CANARY <token>                              the host's canary was read
 *   EFFECT <text>                               the technique reached its goal
 *
 * Exit status: 0 the goal was reached, 10 every attempt was refused, 20 nothing could be tried.
 */
#ifndef ATTEMPT_H
#define ATTEMPT_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int goals, attempts;

/* Reports the result of a call and returns it; errno stays. */
static inline long attempt(const char *what, long result) {
    int error = result < 0 ? errno : 0;
    attempts++;
    printf("ATTEMPT %s ret=%ld errno=%d (%s)\n", what, result, error, error ? strerror(error) : "ok");
    fflush(stdout);
    errno = error;
    return result;
}

static inline void effect(const char *text) {
    goals++;
    printf("EFFECT %s\n", text);
    fflush(stdout);
}

static inline void canary(const char *token) {
    goals++;
    printf("CANARY %.*s\n", (int)strcspn(token, "\r\n"), token);
    fflush(stdout);
}

static inline int finish(void) {
    fflush(stdout);
    return goals ? 0 : attempts ? 10 : 20;
}

static inline const char *from_env(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static inline void sleep_ms(long ms) {
    struct timespec time = {ms / 1000, (ms % 1000) * 1000000L};
    nanosleep(&time, NULL);
}

/* For results that do not matter to the case. */
static inline void write_text(int fd, const char *text) {
    if (write(fd, text, strlen(text)) < 0)
        perror("write");
}

static inline struct sockaddr_in address(const char *ip, int port) {
    struct sockaddr_in made = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, ip, &made.sin_addr);
    return made;
}

/* A connected socket, or -1 with errno; waits no longer than `ms`. */
static inline int connect_tcp(const char *ip, int port, int ms) {
    struct timeval limit = {ms / 1000, (ms % 1000) * 1000};
    struct sockaddr_in to = address(ip, port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}
#endif
