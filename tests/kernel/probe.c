/* What can a program do in here? Prints one JSON object about the sandbox it runs in.
 *
 * The system calls are asked, never made. The probe lays a filter of its own over the sandbox's: a call whose
 * sixth argument is MAGIC goes to a supervisor, which answers it with an error number that the kernel does not
 * use. The kernel takes the strictest answer of all filters (seccomp(2): ERRNO goes before USER_NOTIF), so a
 * call that the sandbox refuses shows the sandbox's error, and one that it allows shows the supervisor's.
 *
 * x86_64 only; tests/kernel/probe_image.py builds it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAGIC 0x5ca1ab1e
#define ALLOWED_ERRNO 3999 /* below MAX_ERRNO (4095), above every real one */
#define NUMBERS 471
#define NOOP "--noop"

#define COUNT(array) (sizeof(array) / sizeof *(array))

struct request {
    long nr;
    unsigned long args[5];
    const char *label;
};

/* Sixth argument: r9 for syscall, ebp for int 0x80. Neither keeps it: no later call of libc may carry MAGIC. */
typedef long (*caller)(const struct request *);
long call64(const struct request *);
long call32(const struct request *);
__asm__(".text\n"
        "call64:\n"
        "  mov (%rdi), %rax\n"
        "  mov 16(%rdi), %rsi\n"
        "  mov 24(%rdi), %rdx\n"
        "  mov 32(%rdi), %r10\n"
        "  mov 40(%rdi), %r8\n"
        "  mov 8(%rdi), %rdi\n"
        "  mov $0x5ca1ab1e, %r9d\n"
        "  syscall\n"
        "  xor %r9d, %r9d\n"
        "  ret\n"
        "call32:\n"
        "  push %rbp\n"
        "  push %rbx\n"
        "  mov (%rdi), %rax\n"
        "  mov 8(%rdi), %rbx\n"
        "  mov 16(%rdi), %rcx\n"
        "  mov 24(%rdi), %rdx\n"
        "  mov 32(%rdi), %rsi\n"
        "  mov 40(%rdi), %rdi\n"
        "  mov $0x5ca1ab1e, %ebp\n"
        "  int $0x80\n"
        "  pop %rbx\n"
        "  pop %rbp\n"
        "  cltq\n"
        "  ret\n"
        ".section .note.GNU-stack,\"\",@progbits\n"
        ".text\n");

#define NS(flag) {SYS_clone, {flag}, "clone(" #flag ")"}
#define SOCKET(family, type, protocol) \
    {SYS_socket, {family, type, protocol}, "socket(" #family "," #type "," #protocol ")"}
#define PERSONALITY(value) {SYS_personality, {value}, "personality(" #value ")"}
#define NODE(mode) \
    {SYS_mknod, {0, mode}, "mknod(" #mode ")"}, {SYS_mknodat, {0, 0, mode}, "mknodat(" #mode ")"}

static const struct request rows[] = {
    NS(0x11),       /* fork: SIGCHLD */
    NS(0x3d0f00),   /* a thread of glibc */
    NS(0x20000),    /* NEWNS */
    NS(0x2000000),  /* NEWCGROUP */
    NS(0x4000000),  /* NEWUTS */
    NS(0x8000000),  /* NEWIPC */
    NS(0x10000000), /* NEWUSER */
    NS(0x20000000), /* NEWPID */
    NS(0x40000000), /* NEWNET */
    NS(0x10000011), /* NEWUSER beside an ordinary flag */
    NS(0x110000011), /* an upper half that the kernel ignores */
    SOCKET(1, 1, 0),
    SOCKET(1, 0x80802, 0), /* AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK */
    SOCKET(2, 1, 0),
    SOCKET(2, 0x80801, 6),
    SOCKET(2, 2, 17),
    SOCKET(2, 2, 1),    /* ping */
    SOCKET(2, 3, 1),    /* SOCK_RAW */
    SOCKET(2, 1, 132),  /* SCTP */
    SOCKET(2, 1, 262),  /* MPTCP */
    SOCKET(2, 6, 33),   /* DCCP */
    SOCKET(2, 6, 0),    /* DCCP by its type alone */
    SOCKET(10, 1, 0),
    SOCKET(10, 2, 17),
    SOCKET(10, 2, 58),
    SOCKET(10, 3, 58),
    SOCKET(16, 3, 0),   /* NETLINK_ROUTE */
    SOCKET(16, 3, 9),   /* NETLINK_AUDIT */
    SOCKET(16, 3, 12),  /* NETLINK_NETFILTER */
    SOCKET(16, 3, 16),  /* NETLINK_GENERIC */
    SOCKET(17, 3, 0),   /* AF_PACKET */
    SOCKET(38, 5, 0),   /* AF_ALG */
    SOCKET(40, 1, 0),   /* AF_VSOCK */
    SOCKET(43, 1, 0),   /* AF_SMC */
    SOCKET(44, 3, 0),   /* AF_XDP */
    SOCKET(0x100000001, 1, 0), /* AF_UNIX to the kernel, which ignores the upper half */
    SOCKET(0x100000011, 3, 0), /* AF_PACKET to the kernel */
    {SYS_socketpair, {1, 1, 0}, "socketpair(1,1,0)"},
    {SYS_socketpair, {30, 1, 0}, "socketpair(30,1,0)"}, /* AF_TIPC */
    PERSONALITY(0),
    PERSONALITY(8),
    PERSONALITY(0xffffffff),
    PERSONALITY(0x20000),   /* UNAME26 */
    PERSONALITY(0x40000),   /* ADDR_NO_RANDOMIZE */
    PERSONALITY(0x40008),
    PERSONALITY(0x100000),  /* MMAP_PAGE_ZERO */
    PERSONALITY(0x400000),  /* READ_IMPLIES_EXEC */
    PERSONALITY(0x440000),
    NODE(0x11a4), /* S_IFIFO */
    NODE(0x81a4), /* S_IFREG */
    NODE(0xc1a4), /* S_IFSOCK */
    NODE(0x21a4), /* S_IFCHR */
    NODE(0x61a4), /* S_IFBLK */
    {SYS_memfd_create, {0, 1}, "memfd_create(MFD_CLOEXEC)"},
    {0x40000000 | SYS_getpid, {0}, "x32 getpid"},
    {0x40000000 | 520, {0}, "x32 execve"},
};

/* What the asking child and its supervisor share: where it is, and what it found. */
struct asked {
    volatile size_t next;
    volatile int results[NUMBERS];
};

static void die(const char *what)
{
    fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int install_listener(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MAGIC, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT(code), code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        die("no_new_privs");
    long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
    int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (listener < 0)
        die("seccomp with a listener");
    return listener;
}

static void answer(int listener)
{
    struct seccomp_notif call = {0};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call))
        return; /* the caller died meanwhile */
    struct seccomp_notif_resp response = {.id = call.id, .error = -ALLOWED_ERRNO};
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

/* Ends when the write end of `life`, which only the child holds, is closed: that is, when the child is gone. */
static void supervise(int listener, int life)
{
    struct pollfd files[] = {{.fd = listener, .events = POLLIN}, {.fd = life, .events = POLLIN}};
    while (!(files[1].revents & POLLHUP)) {
        if (poll(files, COUNT(files), -1) < 0)
            die("poll");
        if (files[0].revents & POLLIN)
            answer(listener);
    }
}

static void ask(struct asked *asked, const struct request *requests, size_t count, caller call)
{
    for (; asked->next < count; asked->next++) {
        long result = call(&requests[asked->next]);
        asked->results[asked->next] = result < 0 ? (int)-result : 0;
    }
    _exit(0);
}

/* A filter may kill instead of refusing: then the next child goes on after the number that killed this one. */
static void ask_all(int listener, struct asked *asked, const struct request *requests, size_t count,
                    caller call)
{
    asked->next = 0;
    while (asked->next < count) {
        int life[2], status;
        if (pipe2(life, O_CLOEXEC))
            die("pipe2");
        pid_t child = fork();
        if (child < 0)
            die("fork");
        if (child == 0)
            ask(asked, requests, count, call);
        close(life[1]);
        supervise(listener, life[0]);
        close(life[0]);
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status))
            asked->results[asked->next++] = -WTERMSIG(status);
    }
}

static void print_result(int result)
{
    if (result < 0)
        printf("\"killed:SIG%s\"", sigabbrev_np(-result));
    else if (result == ALLOWED_ERRNO)
        printf("\"allowed\"");
    else if (result == 0)
        printf("\"executed\"");
    else
        printf("\"%s\"", strerrorname_np(result) ? strerrorname_np(result) : "unknown");
}

static void print_numbers(const char *abi, int listener, struct asked *asked, caller call)
{
    static struct request requests[NUMBERS];
    for (long nr = 0; nr < NUMBERS; nr++)
        requests[nr].nr = nr;
    ask_all(listener, asked, requests, NUMBERS, call);
    printf("\"%s\":[", abi);
    for (size_t nr = 0; nr < NUMBERS; nr++) {
        printf(nr ? "," : "");
        print_result(asked->results[nr]);
    }
    printf("]");
}

static void print_calls(void)
{
    struct asked *asked = mmap(0, sizeof *asked, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (asked == MAP_FAILED)
        die("mmap");
    int listener = install_listener();
    printf("\"syscalls\":{");
    print_numbers("x86_64", listener, asked, call64);
    printf(",");
    print_numbers("i386", listener, asked, call32);
    ask_all(listener, asked, rows, COUNT(rows), call64);
    printf("},\"calls\":{");
    for (size_t i = 0; i < COUNT(rows); i++) {
        printf("%s\"%s\":", i ? "," : "", rows[i].label);
        print_result(asked->results[i]);
    }
    printf("}");
}

static void print_ids(void)
{
    gid_t groups[64];
    int count = getgroups(COUNT(groups), groups);
    printf("\"uid\":[%u,%u],\"gid\":[%u,%u],\"groups\":[", getuid(), geteuid(), getgid(), getegid());
    for (int i = 0; i < count; i++)
        printf("%s%u", i ? "," : "", groups[i]);
    printf("],");
}

/* Every line of /proc/self/status that says what this process may do. */
static void print_status(void)
{
    static const char *const wanted[] = {"CapInh", "CapPrm",     "CapEff",  "CapBnd",
                                         "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters"};
    char line[512], name[64], value[64];
    FILE *status = fopen("/proc/self/status", "r");
    if (!status)
        die("/proc/self/status");
    printf("\"status\":{\"pid\":\"%d\"", getpid());
    while (fgets(line, sizeof line, status)) {
        if (sscanf(line, "%63[^:]: %63s", name, value) != 2)
            continue;
        for (size_t i = 0; i < COUNT(wanted); i++)
            if (!strcmp(name, wanted[i]))
                printf(",\"%s\":\"%s\"", name, value);
    }
    fclose(status);
    printf("},");
}

static void print_interfaces(void)
{
    char line[512], name[64];
    FILE *devices = fopen("/proc/net/dev", "r");
    const char *comma = "";
    printf("\"interfaces\":[");
    while (devices && fgets(line, sizeof line, devices)) {
        if (!strchr(line, ':') || sscanf(line, " %63[^: ]", name) != 1)
            continue;
        printf("%s\"%s\"", comma, name);
        comma = ",";
    }
    if (devices)
        fclose(devices);
    printf("],");
}

static const char *error_name(int error)
{
    return error ? strerrorname_np(error) : "ok";
}

static int create_in(const char *folder)
{
    char path[256];
    snprintf(path, sizeof path, "%s/.probe-%d", folder, getpid());
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return errno;
    close(file);
    unlink(path);
    return 0;
}

static void print_writable(void)
{
    static const char *const folders[] = {"/etc",       "/usr", "/tmp",     "/var/tmp",
                                          "/workspace", "/dev", "/dev/shm", "/sys"};
    printf("\"create\":{\"/\":\"%s\"", error_name(create_in("")));
    for (size_t i = 0; i < COUNT(folders); i++)
        printf(",\"%s\":\"%s\"", folders[i], error_name(create_in(folders[i])));
    printf("},");
}

static int copy_self_to(int target)
{
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (self < 0 || fstat(self, &info))
        return errno;
    while (info.st_size > 0) {
        ssize_t sent = sendfile(target, self, 0, info.st_size);
        if (sent <= 0)
            return errno ? errno : EIO;
        info.st_size -= sent;
    }
    close(self);
    return 0;
}

/* The errno of execve, or 0 when the new program ran. */
static int try_exec(const char *path)
{
    int told[2], error = 0;
    if (pipe2(told, O_CLOEXEC))
        die("pipe2");
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        execve(path, (char *[]){(char *)path, NOOP, 0}, (char *[]){0});
        error = errno;
        _exit(write(told[1], &error, sizeof error) != sizeof error);
    }
    close(told[1]);
    if (read(told[0], &error, sizeof error) < 0)
        die("read");
    close(told[0]);
    waitpid(child, 0, 0);
    return error;
}

static const char *exec_in(const char *folder)
{
    static char answer[64];
    char path[256];
    snprintf(path, sizeof path, "%s/probe-exec-%d", folder, getpid());
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    int error = file < 0 ? errno : copy_self_to(file);
    if (file >= 0)
        close(file);
    if (!error) {
        snprintf(answer, sizeof answer, "%s", error_name(try_exec(path)));
        unlink(path);
        return answer;
    }
    unlink(path);
    snprintf(answer, sizeof answer, "no file: %s", error_name(error));
    return answer;
}

static const char *exec_memfd(void)
{
    static char answer[64];
    char path[64];
    int file = memfd_create("probe", 0);
    int error = file < 0 ? errno : copy_self_to(file);
    if (error) {
        snprintf(answer, sizeof answer, "no file: %s", error_name(error));
        return answer;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int read_only = open(path, O_RDONLY); /* a file that is open for writing gives ETXTBSY */
    close(file);
    snprintf(path, sizeof path, "/proc/self/fd/%d", read_only);
    error = try_exec(path);
    close(read_only);
    return error_name(error);
}

static void print_executable(void)
{
    static const char *const folders[] = {"/tmp", "/var/tmp", "/workspace", "/dev/shm"};
    printf("\"exec\":{");
    for (size_t i = 0; i < COUNT(folders); i++)
        printf("\"%s\":\"%s\",", folders[i], exec_in(folders[i]));
    printf("\"memfd\":\"%s\"},", exec_memfd());
}

static void print_rlimits(void)
{
    static const struct {
        int resource;
        const char *name;
    } limits[] = {{RLIMIT_NOFILE, "nofile"}, {RLIMIT_CORE, "core"}, {RLIMIT_NPROC, "nproc"}};
    struct rlimit limit;
    printf("\"rlimits\":{");
    for (size_t i = 0; i < COUNT(limits); i++) {
        getrlimit(limits[i].resource, &limit);
        printf("%s\"%s\":[%lld,%lld]", i ? "," : "", limits[i].name, (long long)limit.rlim_cur,
               (long long)limit.rlim_max);
    }
    printf("},");
}

/* Of cgroup v2, then v1: whatever is there. */
static void print_cgroup(void)
{
    static const char *const files[] = {
        "memory.max", "memory.swap.max", "pids.max", "cpu.max",
        "memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes", "pids/pids.max",
        "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us",
    };
    char path[256], text[64];
    const char *comma = "";
    printf("\"cgroup\":{");
    for (size_t i = 0; i < COUNT(files); i++) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s", files[i]);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        if (fscanf(file, "%63[^\n]", text) == 1) {
            printf("%s\"%s\":\"%s\"", comma, files[i], text);
            comma = ",";
        }
        fclose(file);
    }
    printf("},");
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], NOOP))
        return 0;
    setvbuf(stdout, 0, _IOFBF, 1 << 16); /* children leave by _exit or execve: none prints what it inherited */
    printf("{");
    print_ids();
    print_status();
    print_interfaces();
    print_writable();
    print_executable();
    print_rlimits();
    print_cgroup();
    print_calls(); /* last: its filter would be counted by print_status */
    printf("}\n");
    return 0;
}
