// What a hostile or hasty program does, for the tests of the sensors. Usage: workload KIND ARGUMENTS...
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char *self;

static void nap(const char *microseconds) {
    usleep((useconds_t)atoi(microseconds));
    _exit(0);
}

static void become_nap(const char *microseconds) {
    execl(self, self, "nap", microseconds, (char *)NULL);
    _exit(127);
}

// short COUNT US: so many processes, one after the other, each of which runs a program that lives so long.
static int run_short(int count, const char *microseconds) {
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child == 0)
            become_nap(microseconds);
        waitpid(child, NULL, 0);
    }
    return 0;
}

static _Atomic int stop;
static int leaks_at;
static _Atomic int leaked;

// Reads by the number that the next open will get, in the hope of being faster than whoever denies it.
static void *read_ahead(void *unused) {
    char secret[16];
    (void)unused;
    while (!stop)
        if (pread(leaks_at, secret, sizeof secret, 0) > 0)
            leaked = 1;
    return NULL;
}

// race PATH COUNT: prints how many opens failed, and in how many tries a sibling thread read something.
static int race(const char *path, int count) {
    int denied = 0, leaks = 0;
    for (int i = 0; i < count; i++) {
        pthread_t sibling;
        leaks_at = dup(0);
        close(leaks_at);
        stop = leaked = 0;
        pthread_create(&sibling, NULL, read_ahead, NULL);
        sched_yield();
        int file = open(path, O_RDONLY);
        denied += file < 0 && errno == EPERM;
        stop = 1;
        pthread_join(sibling, NULL);
        if (file >= 0)
            close(file);
        leaks += leaked;
    }
    printf("%d %d\n", denied, leaks);
    return 0;
}

// hold PATH: opens, says so, waits for a line, and prints how many bytes it can then read.
static int hold(const char *path) {
    char byte, secret[16];
    int file = open(path, O_RDONLY);
    printf("%d\n", file);
    fflush(stdout);
    if (read(0, &byte, 1) != 1)
        return 1;
    printf("%zd\n", read(file, secret, sizeof secret));
    return 0;
}

static char stack[65536];

static int child_of_its_grandparent(void *microseconds) {
    become_nap(microseconds);
    return 1;
}

// sibling US: a child that says it is its parent's sibling (CLONE_PARENT).
static int sibling(char *microseconds) {
    if (clone(child_of_its_grandparent, stack + sizeof stack, CLONE_PARENT | SIGCHLD, microseconds) < 0) {
        perror("clone");
        return 1;
    }
    usleep(600000);
    return 0;
}

static void *go_on(void *microseconds) {
    usleep(100000);
    if (fork() == 0)
        become_nap(microseconds);
    wait(NULL);
    exit(7);
}

// leaderless US: its first thread ends, another goes on and starts a program.
static int leaderless(char *microseconds) {
    pthread_t other;
    pthread_create(&other, NULL, go_on, microseconds);
    pthread_exit(NULL);
}

// as UID US: takes another uid, then runs a program.
static int as(int uid, const char *microseconds) {
    if (setresuid((uid_t)uid, (uid_t)uid, (uid_t)uid) < 0)
        return 1;
    become_nap(microseconds);
    return 1;
}

static void *change_alone(void *uid) {
    long number = atol(uid);
    if (syscall(SYS_setresuid, number, number, number))
        exit(1);
    usleep(400000);
    return NULL;
}

// thread UID: one thread of it takes another uid, which the C library would give to all.
static int thread(char *uid) {
    pthread_t other;
    pthread_create(&other, NULL, change_alone, uid);
    return pthread_join(other, NULL);
}

// shell US: a program whose standard streams are a TCP connection.
static int shell(const char *microseconds) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(server, (struct sockaddr *)&address, size) || listen(server, 1))
        return 1;
    getsockname(server, (struct sockaddr *)&address, &size);
    if (connect(client, (struct sockaddr *)&address, size))
        return 1;
    for (int number = 0; number < 3; number++)
        dup2(client, number);
    become_nap(microseconds);
    return 1;
}

// trace: after a while attaches to a child of its own.
static int trace(void) {
    usleep(200000);
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    int failed = ptrace(PTRACE_ATTACH, child, NULL, NULL) != 0;
    waitpid(child, NULL, 0);
    usleep(400000);
    ptrace(PTRACE_DETACH, child, NULL, NULL);
    kill(child, SIGKILL);
    return failed;
}

int main(int count, char **arguments) {
    if (count < 2)
        return 2;
    self = arguments[0];
    const char *kind = arguments[1];
    if (!strcmp(kind, "nap") && count == 3)
        nap(arguments[2]);
    if (!strcmp(kind, "short") && count == 4)
        return run_short(atoi(arguments[2]), arguments[3]);
    if (!strcmp(kind, "race") && count == 4)
        return race(arguments[2], atoi(arguments[3]));
    if (!strcmp(kind, "hold") && count == 3)
        return hold(arguments[2]);
    if (!strcmp(kind, "sibling") && count == 3)
        return sibling(arguments[2]);
    if (!strcmp(kind, "leaderless") && count == 3)
        return leaderless(arguments[2]);
    if (!strcmp(kind, "as") && count == 4)
        return as(atoi(arguments[2]), arguments[3]);
    if (!strcmp(kind, "thread") && count == 3)
        return thread(arguments[2]);
    if (!strcmp(kind, "shell") && count == 3)
        return shell(arguments[2]);
    if (!strcmp(kind, "trace") && count == 2)
        return trace();
    return 2;
}
