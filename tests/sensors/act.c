/* One action of a sandboxed program, by name: what the sensor must turn into one kind of event. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long number(const char *text)
{
	return strtol(text, 0, 0);
}

static long act_open(char **argv)
{
	return open(argv[0], number(argv[1]), 0600);
}

static long act_openat2(char **argv)
{
	struct open_how how = { .flags = number(argv[1]) };

	return syscall(SYS_openat2, AT_FDCWD, argv[0], &how, sizeof(how));
}

/* By the handle of a file of the same file system as the mount's. */
static long act_handle(char **argv)
{
	struct { struct file_handle head; char bytes[MAX_HANDLE_SZ]; } handle = { .head.handle_bytes = MAX_HANDLE_SZ };
	int mount_id, mount = open(argv[0], O_RDONLY);

	if (name_to_handle_at(AT_FDCWD, argv[1], &handle.head, &mount_id, 0))
		return -1;
	return open_by_handle_at(mount, &handle.head, O_RDONLY);
}

static long act_mount(char **argv)
{
	return mount(argv[0], argv[1], argv[2], 0, "");
}

static long act_unshare(char **argv)
{
	return unshare(number(argv[0]));
}

static long act_setns(char **argv)
{
	int fd = open(argv[0], O_RDONLY);

	if (setns(fd, number(argv[1])))
		return -1;
	return argv[2] ? open(argv[2], O_RDONLY) : 0;
}

static long act_chroot(char **argv)
{
	if (chroot(argv[0]))
		return -1;
	return open("/etc/canary", O_RDONLY);
}

static pid_t idle_child(void)
{
	pid_t child = fork();

	if (!child)
		for (;;)
			pause();
	return child;
}

static long act_ptrace_child(char **argv)
{
	pid_t child = idle_child();
	long result = ptrace(PTRACE_ATTACH, child, 0, 0);

	kill(child, SIGKILL);
	return result;
}

static long act_ptrace(char **argv)
{
	return ptrace(PTRACE_SEIZE, number(argv[0]), 0, 0);
}

static long act_vm_read(char **argv)
{
	char bytes[8];
	struct iovec here = { bytes, sizeof(bytes) }, there = { &errno, sizeof(bytes) };

	return process_vm_readv(number(argv[0]), &here, 1, &there, 1, 0);
}

static long act_steal_descriptor(char **argv)
{
	pid_t pid = argv[0] ? number(argv[0]) : idle_child();
	long result = syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, pid, 0), 0, 0);

	if (!argv[0])
		kill(pid, SIGKILL);
	return result;
}

static int inet_address(struct sockaddr_storage *address, char **argv)
{
	struct sockaddr_in *v4 = (void *)address;
	struct sockaddr_in6 *v6 = (void *)address;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, argv[0], &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(number(argv[1]));
		return sizeof(*v4);
	}
	inet_pton(AF_INET6, argv[0], &v6->sin6_addr);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(number(argv[1]));
	return sizeof(*v6);
}

static long act_connect(char **argv)
{
	struct sockaddr_storage address;
	int size = inet_address(&address, argv);
	int s = socket(address.ss_family, SOCK_STREAM, 0);

	return connect(s, (void *)&address, size);
}

static long act_bind(char **argv)
{
	struct sockaddr_storage address;
	int size = inet_address(&address, argv);
	int s = socket(address.ss_family, SOCK_STREAM, 0);

	if (bind(s, (void *)&address, size))
		return -1;
	return listen(s, 1);
}

/* The arguments of a connect by the 32-bit entry's call for all that sockets do, below 4 GiB. */
static long socketcall(int s, const struct sockaddr_un *address, int size)
{
	char *low = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	unsigned arguments[] = { s, (unsigned long)low, size };
	long result;

	memcpy(low, address, size);
	memcpy(low + 512, arguments, sizeof(arguments));
	asm volatile("int $0x80"
		     : "=a"(result)
		     : "a"(102), "b"(3), "c"(low + 512)
		     : "r8", "r9", "r10", "r11", "memory");
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

/* One request; its result, or -1 and errno. */
static long ring_call(int opcode, int fd, const void *address, unsigned long size)
{
	struct io_uring_params parameters = { 0 };
	int ring = syscall(SYS_io_uring_setup, 4, &parameters), result;
	struct io_uring_sqe *entry;
	char *queue, *done;

	if (ring < 0)
		return -1;
	queue = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	done = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
	entry = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	memset(entry, 0, sizeof(*entry));
	entry->opcode = opcode;
	entry->fd = fd;
	entry->addr = (unsigned long)address;
	entry->off = size;
	*(unsigned *)(queue + parameters.sq_off.array) = 0;
	*(unsigned *)(queue + parameters.sq_off.tail) = 1;
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) != 1)
		return -1;
	result = ((struct io_uring_cqe *)(done + parameters.cq_off.cqes))->res;
	errno = -result;
	return result < 0 ? -1 : result;
}

static long act_unix(char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	int size = offsetof(struct sockaddr_un, sun_path) + strlen(argv[0]);

	memcpy(address.sun_path, argv[0], strlen(argv[0]));
	if (argv[0][0] == '@')
		address.sun_path[0] = 0;
	if (argv[1] && !strcmp(argv[1], "socketcall"))
		return socketcall(s, &address, size);
	if (argv[1] && !strcmp(argv[1], "ring"))
		return ring_call(IORING_OP_CONNECT, s, &address, size);
	if (argv[1]) {		/* listen there first */
		int listener = socket(AF_UNIX, SOCK_STREAM, 0);

		bind(listener, (void *)&address, size);
		listen(listener, 1);
	}
	return connect(s, (void *)&address, size);
}

static long act_unix_serve(char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, argv[0]);
	if (bind(listener, (void *)&address, sizeof(address)) || listen(listener, 64))
		return -1;
	return pause();
}

static const char query[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04" "evil\x07" "example\x03" "com\x00\x00\x01\x00\x01";

static long act_send(char **argv)
{
	struct sockaddr_storage address;
	int size = inet_address(&address, argv + 1);
	int s = socket(address.ss_family, SOCK_DGRAM, 0);
	struct iovec vector = { (void *)query, sizeof(query) - 1 };
	struct mmsghdr message = { .msg_hdr = { .msg_name = &address, .msg_namelen = size, .msg_iov = &vector, .msg_iovlen = 1 } };

	if (!strcmp(argv[0], "sendto"))
		return sendto(s, query, sizeof(query) - 1, 0, (void *)&address, size);
	if (!strcmp(argv[0], "sendmsg"))
		return sendmsg(s, &message.msg_hdr, 0);
	if (!strcmp(argv[0], "sendmmsg"))
		return sendmmsg(s, &message, 1, 0);
	connect(s, (void *)&address, size);
	return send(s, query, sizeof(query) - 1, 0);
}

static long act_socket(char **argv)
{
	return socket(number(argv[0]), number(argv[1]), number(argv[2]));
}

static long act_mknod(char **argv)
{
	return mknod(argv[0], number(argv[1]), makedev(number(argv[2]), number(argv[3])));
}

static long act_fchmod(char **argv)
{
	return fchmod(open(argv[0], O_RDONLY), number(argv[1]));
}

static long act_chmod(char **argv)
{
	return chmod(argv[0], number(argv[1]));
}

static long act_symlink(char **argv)
{
	return symlink(argv[0], argv[1]);
}

static long act_link(char **argv)
{
	return link(argv[0], argv[1]);
}

static long act_map(char **argv)
{
	return (long)mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, open(argv[0], O_RDONLY), 0);
}

static long act_writable_code(char **argv)
{
	int i;

	for (i = 0; i < 5; i++)
		mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return 0;
}

/* A program that is no file of the image: its own copy in memory. */
static long act_memfd(char **argv)
{
	char *arguments[] = { "from-memory", "true", 0 };
	int from = open("/bin/busybox", O_RDONLY), to = memfd_create("payload", 0);
	char bytes[65536];
	long size;

	while ((size = read(from, bytes, sizeof(bytes))) > 0)
		if (write(to, bytes, size) != size)
			return -1;
	return fexecve(to, arguments, environ);
}

static long act_exec(char **argv)
{
	return execv(argv[0], argv);
}

static long act_clone(char **argv)
{
	return syscall(SYS_clone, number(argv[0]) | SIGCHLD, 0, 0, 0, 0);
}

static long act_clone3(char **argv)
{
	struct { unsigned long flags, fields[7]; } arguments = { .flags = number(argv[0]) };

	arguments.fields[3] = SIGCHLD;
	return syscall(SYS_clone3, &arguments, sizeof(arguments));
}

static long act_call(char **argv)
{
	return syscall(number(argv[0]), 0, 0, 0, 0, 0, 0);
}

/* By the table of 32-bit programs: mount is 21, open is 5. */
static long act_int80(char **argv)
{
	char *low = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	long result;

	strcpy(low, argv[1]);
	strcpy(low + 256, argv[2] ? argv[2] : "");
	strcpy(low + 512, argv[2] && argv[3] ? argv[3] : "");
	asm volatile("int $0x80"
		     : "=a"(result)
		     : "a"(number(argv[0])), "b"(low), "c"(argv[2] ? low + 256 : 0), "d"(low + 512), "S"(0), "D"(0)
		     : "r8", "r9", "r10", "r11", "memory");
	if (result < 0) {
		errno = -result;
		return -1;
	}
	return result;
}

/* Opens of a watched name that is nowhere. */
static long act_refused(char **argv)
{
	long i, count = number(argv[0]);

	for (i = 0; i < count; i++)
		open("/nowhere/canary", O_RDONLY);
	return 0;
}

/* Its strings are in a page that is not there when the call begins. */
static long act_hidden_mount(char **argv)
{
	char page[4096] = "hidden";
	int file = open("/tmp/strings", O_CREAT | O_RDWR, 0600);
	char *strings;

	strcpy(page + 64, argv[0]);
	strcpy(page + 128, "tmpfs");
	if (write(file, page, sizeof(page)) < 0)
		return -1;
	strings = mmap(0, 4096, PROT_READ, MAP_PRIVATE, file, 0);
	madvise(strings, 4096, MADV_DONTNEED);
	return mount(strings, strings + 64, strings + 128, 0, 0);
}

static long act_ring_open(char **argv)
{
	return ring_call(IORING_OP_OPENAT, AT_FDCWD, argv[0], 0);
}

/* argv[0]: a cgroup.procs file. Goes there and starts a program. */
static long act_move(char **argv)
{
	int file = open(argv[0], O_WRONLY);
	char *arguments[] = { "moved", "true", 0 };

	if (file < 0 || write(file, "0", 1) != 1)
		return -1;
	return execv("/bin/busybox", arguments);
}

/* argv[0] programs that sleep for argv[1] microseconds each, one after the other. */
static long act_spawn(char **argv)
{
	long i, count = number(argv[0]);

	for (i = 0; i < count; i++) {
		pid_t child = fork();

		if (!child) {
			execl("/act", "short", "nap", argv[1], (char *)0);
			_exit(1);
		}
		waitpid(child, 0, 0);
	}
	return 0;
}

static long act_nap(char **argv)
{
	struct timespec time = { 0, number(argv[0]) * 1000 };

	return nanosleep(&time, 0);
}

static const struct { const char *name; long (*act)(char **argv); } acts[] = {
	{ "open", act_open }, { "openat2", act_openat2 }, { "handle", act_handle }, { "mount", act_mount },
	{ "unshare", act_unshare }, { "setns", act_setns }, { "chroot", act_chroot }, { "ptrace", act_ptrace },
	{ "ptrace-child", act_ptrace_child }, { "vm-read", act_vm_read }, { "steal-descriptor", act_steal_descriptor }, { "connect", act_connect },
	{ "bind", act_bind }, { "unix", act_unix }, { "unix-serve", act_unix_serve }, { "send", act_send }, { "socket", act_socket },
	{ "mknod", act_mknod }, { "chmod", act_chmod }, { "fchmod", act_fchmod }, { "symlink", act_symlink },
	{ "link", act_link }, { "map", act_map }, { "writable-code", act_writable_code }, { "memfd", act_memfd },
	{ "exec", act_exec }, { "clone", act_clone }, { "clone3", act_clone3 }, { "call", act_call },
	{ "int80", act_int80 }, { "hidden-mount", act_hidden_mount }, { "ring-open", act_ring_open },
	{ "move", act_move }, { "spawn", act_spawn }, { "nap", act_nap }, { "refused", act_refused },
};

static long (*find(const char *name))(char **argv)
{
	unsigned i;

	for (i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		if (strcmp(name, acts[i].name) == 0)
			return acts[i].act;
	fprintf(stderr, "no such act\n");
	exit(2);
}

/* Each time in a child of its own: how many were killed, how many came back from the call. */
static int repeat(long count, const char *name, char **argv)
{
	long (*act)(char **) = find(name);
	volatile long *returned = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	long i, killed = 0;

	for (i = 0; i < count; i++) {
		pid_t child = fork();
		int status;

		if (!child) {
			act(argv);
			++*returned;
			_exit(0);
		}
		waitpid(child, &status, 0);
		killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	}
	printf("%ld %ld\n", killed, *returned);
	return 0;
}

/* To a listener of its own: how many were denied, how many stood, how many the listener saw. */
static int connects(long count, char **argv)
{
	struct sockaddr_storage address;
	int size = inet_address(&address, argv);
	int listener = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
	long i, denied = 0, connected = 0, accepted = 0;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (void *)&address, size) || listen(listener, 16))
		return 1;
	for (i = 0; i < count; i++) {
		int s = socket(address.ss_family, SOCK_STREAM, 0);

		if (!connect(s, (void *)&address, size))
			connected++;
		else
			denied += errno == EPERM;
		while ((one = accept(listener, 0, 0)) >= 0) {
			accepted++;
			close(one);
		}
		close(s);
	}
	printf("%ld %ld %ld\n", denied, connected, accepted);
	return 0;
}

int main(int argc, char **argv)
{
	long result;

	if (argc > 3 && strcmp(argv[1], "repeat") == 0)
		return repeat(number(argv[2]), argv[3], argv + 4);
	if (argc == 5 && strcmp(argv[1], "connects") == 0)
		return connects(number(argv[2]), argv + 3);
	if (argc < 2)
		return 2;
	result = find(argv[1])(argv + 2);
	printf("%ld %d\n", result, result == -1 ? errno : 0);
	return 0;
}
