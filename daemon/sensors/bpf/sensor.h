/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The ABI between the kernel programs and the daemon: what the rings carry and what the maps hold.
 * daemon/sensors/abi.py mirrors it; a test compares both by the type information of the built object.
 *
 * Every record starts with a struct record; what follows it depends on `kind`. All is little-endian.
 * Strings end with a NUL. A path is its components from the leaf to the root, each with its NUL.
 */
#pragma once

#define COMM_BYTES 16
#define NAME_BYTES 32		/* of watched last components */
#define FOLDER_BYTES 16		/* of each component of a watched folder */
#define FILESYSTEM_BYTES 16
#define STRING_BYTES 512	/* of an argument, its NUL included */
#define ARGUMENTS_BYTES 512	/* of argv */
#define ENVIRONMENT_BYTES 2048
#define PATH_BYTES 4096
#define PATH_DEPTH 40		/* steps of a walk, mount points included */
#define DATAGRAM_BYTES 128
#define UNIX_PATH_BYTES 108
#define CGROUP_PATH_BYTES 128
#define CALLS 1024		/* numbers of system calls that a policy can name */
#define NO_ARGUMENT 255
#define PORT_RANGES 8		/* of one network that a sandbox may reach */
#define CALL_RING 0xffffff00	/* no system call: a request of io_uring, plus its opcode */

enum record_kind {
	RECORD_ATTACHED = 1,	/* + name of the cgroup: the sandbox's number has a name now */
	RECORD_ENROLLED,	/* struct enrolled */
	RECORD_FORKED,		/* the child's */
	RECORD_EXECUTED,	/* struct executed + path + argv + environment */
	RECORD_HOST_EXECUTED,	/* likewise */
	RECORD_EXITED,		/* `result` is the wait status */
	RECORD_CALLED,		/* struct called + strings */
	RECORD_FILE,		/* struct called_on_file + path, or the string that was passed */
	RECORD_ADDRESS,		/* struct called_on_address + datagram + path of a Unix socket's file */
	RECORD_TOUCHED,		/* struct called_on_process */
	RECORD_RING,		/* struct requested + the string that was passed + path that it begins at */
};

enum record_flag {
	FLAG_KILLED = 1,
	FLAG_COMPAT = 2,	/* 32-bit entry, or x32 */
	FLAG_UNREADABLE = 4,	/* an argument string could not be read: the page was not resident */
	FLAG_TRUNCATED = 8,	/* the path has more components than were walked */
	FLAG_RUNNING = 16,	/* was there before the sensor */
	FLAG_RESOLVED = 32,	/* RECORD_FILE: the file is the kernel's own, not a string */
	FLAG_FOREIGN = 64,	/* RECORD_ADDRESS: the Unix socket was bound in another mount namespace */
};

enum drift {			/* bits of daemon.events.Drift */
	DRIFT_MOUNT_NAMESPACE = 1,
	DRIFT_USER_NAMESPACE = 2,
	DRIFT_PID_NAMESPACE = 4,
	DRIFT_CAPABILITIES = 8,
	DRIFT_ROOT = 16,
	DRIFT_UID = 32,
};

enum file_reason {		/* why a file is reported, and facts of how it was reached */
	FILE_WRITE = 1,
	FILE_CREATED = 2,
	FILE_FOREIGN = 4,	/* reached by a mount of another mount namespace */
	FILE_OUTSIDE = 8,	/* not below the root of the mount that it was reached by */
	FILE_KERNEL = 16,	/* written to, on a file system of the kernel's own */
	FILE_DEVICE = 32,
	FILE_NAMED = 64,
	FILE_WATCHED = 128,	/* its inode or its file system is */
	FILE_OTHER_PROCESS = 256,	/* /proc/PID of another process */
	FILE_SYSTEM_FOLDER = 512,
	FILE_FRESH = 1024,	/* changed after the sandbox's start */
};

enum response {			/* what the kernel side does by itself, by sandbox */
	KILL_ON_DRIFT = 1,
	KILL_ON_FOREIGN = 2,
	KILL_ON_CALL = 4,	/* of calls whose policy says `kill` */
	DENY_ESCAPES = 8,	/* mounts, user namespaces, ptrace of strangers, bpf: where BPF LSM works */
};

enum inode_action {
	INODE_REPORT = 1,
	INODE_KILL = 2,
	INODE_DENY = 4,
};

enum device_action {
	DEVICE_REPORT = 1,	/* every open on it */
	DEVICE_HAS_INODES = 2,	/* some of its inodes are watched */
};

enum when {			/* which results of a call are reported */
	WHEN_NEVER = 0,
	WHEN_ALWAYS = 1,
	WHEN_FAILED = 2,
	WHEN_ERROR = 3,		/* with `only`, and once a second a task at most */
};

enum handler {			/* slots of the map `handlers` */
	HANDLER_CALL,
	HANDLER_OPEN,
	HANDLER_ADDRESS,
	HANDLER_MESSAGE,
	HANDLER_LISTEN,
	HANDLER_CLONE,
	HANDLER_MAP,
	HANDLER_MODE,
	HANDLER_NODE,
	HANDLER_PROCESS,
	HANDLER_FILE,		/* the second half of those that report a file: of no policy */
	HANDLERS,
};

enum loss {			/* indexes of the map `losses` */
	LOSS_ALERTS_FULL,
	LOSS_BULK_FULL,
	LOSS_NO_TAG,		/* no memory for a task's tag: it goes unseen */
	LOSS_NO_SCRATCH,
	LOSS_PATH_TOO_DEEP,
	LOSS_UNREADABLE,
	LOSSES,
};

enum watch {
	WATCH_CHILDREN = 1,	/* every cgroup right below is a sandbox of its own */
	WATCH_ITSELF = 2,
};

struct record {
	u64 time_ns;		/* CLOCK_MONOTONIC */
	u32 length;		/* of all, this header included */
	u16 kind;
	u16 flags;
	u64 sandbox;		/* number of its cgroup, 0: the host */
	u64 capabilities;	/* effective */
	s64 result;
	u32 pid;		/* in the initial pid namespace */
	u32 tid;
	u32 ppid;
	u32 uid;		/* effective, in the initial user namespace */
	u32 mnt_ns;
	u32 pid_ns;
	u32 net_ns;
	u32 user_ns;
	u32 drift;
	u32 call;		/* number of the system call */
	u32 ns_tid;		/* `tid` in its own pid namespace */
	u32 spare;
	char comm[COMM_BYTES];
};

struct enrolled {
	u64 started_ns;		/* CLOCK_MONOTONIC of the first exec inside */
	u64 net_cookie;
	u32 root_device;
	u32 net_ns;
	u32 mnt_ns;
	u32 pid_ns;
};

struct file_facts {
	u64 inode;
	s64 changed_ns;		/* ctime, CLOCK_REALTIME */
	u32 device;		/* of the superblock: major << 20 | minor */
	u32 node_device;
	u32 mode;
	u32 links;
	u32 flags;		/* open(2), as the struct file has them */
	u32 reasons;		/* enum file_reason */
	u32 path_length;
	u32 spare;
	char filesystem[FILESYSTEM_BYTES];
};

struct executed {
	struct file_facts file;
	u32 arguments_length;
	u32 environment_length;
	u32 inet_stdio;		/* bit n: descriptor n is an internet socket */
	u32 privileged;		/* the file changed the credentials */
};

struct called {
	u64 arguments[6];
};

struct requested {
	u64 flags;		/* open(2) */
	u32 string_length;
	u32 base_length;
};

struct called_on_file {
	u64 arguments[6];
	struct file_facts file;
};

struct called_on_address {
	u64 arguments[6];
	u64 inode;		/* of a Unix socket that is connected */
	u32 device;
	u16 family;
	u16 port;		/* host byte order */
	u8 address[16];		/* IPv4 in the first four */
	u32 path_length;
	u32 datagram_length;
	u32 size;
	u32 bound_length;	/* of the path of `inode`, in the mount namespace where it was bound */
	char path[UNIX_PATH_BYTES + 4];
};

struct called_on_process {
	u64 arguments[6];
	u32 target_tid;		/* in the initial pid namespace, 0 where there is none */
	u32 target_pid;		/* as it was passed */
	u32 descendant;
	u32 spare;
};

/* --- maps */

struct policy {			/* of a system call, by number */
	u8 when;
	u8 handler;
	u8 alert;		/* into the ring that a flood of ordinary events cannot fill */
	u8 kill;
	u8 strings[3];		/* which arguments are strings, NO_ARGUMENT for none */
	u8 operand;		/* the argument that the handler looks at */
	s32 only;		/* the result that WHEN_ERROR wants */
};

struct watched {		/* by a cgroup's number */
	u32 watch;
	u32 prefix_length;
	char prefix[16];	/* of a child's name */
};

struct cgroup_path {		/* from the hierarchy's root */
	char bytes[CGROUP_PATH_BYTES];
};

struct file_name {
	char bytes[NAME_BYTES];
};

struct folder {
	char first[FOLDER_BYTES];
	char second[FOLDER_BYTES];	/* empty: all below the first */
	char third[FOLDER_BYTES];	/* empty: all below the second */
};

struct inode_key {
	u64 inode;
	u32 device;
	u32 spare;
};

struct network {		/* key of a longest-prefix match */
	u32 prefix;		/* bits that count, of the cookie and the address together */
	u64 cookie;
	u8 address[16];
} __attribute__((packed));

struct ports {			/* what a network maps to: ranges, those whose last is 0 are empty */
	u16 first[PORT_RANGES];
	u16 last[PORT_RANGES];
};

struct settings {		/* set before loading */
	u32 hierarchy;		/* 0: cgroup v2; 1, 2: cgroup v1, of memory or pids */
	u32 hierarchy_id;	/* of that one, as in /proc/PID/cgroup */
	u32 own_mnt_ns;		/* the daemon's: with init's, what counts as the host */
};

struct host {			/* of init or kthreadd, found by the iterator */
	u32 mnt_ns;
	u32 net_ns;
	u32 root_device;
	u32 own_root_device;	/* the daemon's, which may be another */
};

struct sandbox {		/* what its tasks are compared with; made at the first exec inside */
	u64 started_ns;
	u64 started_real_ns;
	u64 root;		/* address of the root's dentry: compared, never followed */
	u64 net_cookie;
	u32 mnt_ns;
	u32 pid_ns;
	u32 user_ns;
	u32 net_ns;
	u32 uid;
	u32 root_device;
};

/* Makes clang write all of the above into the object's type information. */
union abi {
	struct record record;
	struct enrolled enrolled;
	struct file_facts file_facts;
	struct executed executed;
	struct called called;
	struct requested requested;
	struct called_on_file called_on_file;
	struct called_on_address called_on_address;
	struct called_on_process called_on_process;
	struct policy policy;
	struct watched watched;
	struct cgroup_path cgroup_path;
	struct file_name file_name;
	struct folder folder;
	struct inode_key inode_key;
	struct network network;
	struct ports ports;
	struct settings settings;
	struct host host;
	struct sandbox sandbox;
	enum record_kind record_kind;
	enum record_flag record_flag;
	enum drift drift;
	enum file_reason file_reason;
	enum response response;
	enum inode_action inode_action;
	enum device_action device_action;
	enum when when;
	enum handler handler;
	enum loss loss;
	enum watch watch;
};
