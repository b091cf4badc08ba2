/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What the programs keep and what the daemon tells them. Private types of the kernel side are here, shared ones in sensor.h. */
#pragma once

#define SCRATCH_BYTES 16384
#define RECORD_MASK 8191	/* no record is longer; scratch has room for any single read beyond it */

enum tag_state {
	TAG_NONE = 0,		/* storage made, nothing known yet */
	TAG_ENTERING,		/* in the sandbox's cgroup, still the runtime's own code */
	TAG_INSIDE,		/* after its first exec in another mount namespace than the runtime's */
};

enum tag_once {			/* what is reported once a task */
	ONCE_WRITABLE_CODE = 1,
};

struct tag {			/* of a task, inherited at fork */
	u64 sandbox;
	u64 capabilities;	/* those it came in with: a later exec may have others than the first */
	u64 limited_ns;		/* when a rate-limited error was reported last */
	u32 uid;
	u32 state;
	u32 outside_mnt_ns;	/* the runtime's */
	u32 reported;		/* drift */
	u32 once;
	u32 born;		/* drift that it was forked with */
	u32 spare;
	u32 drift;		/* at the last look; in memory, for the verifier would follow every combination of bits */
};

struct scratch {
	union {
		struct record record;
		union abi abi;
		char bytes[SCRATCH_BYTES];
	};
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct tag);
} tags SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} alerts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} bulk SEC(".maps");

enum scratch_slot {		/* the iterator can be preempted, tracepoints cannot: they must not share */
	SLOT_EVENT,
	SLOT_SEED,
	SLOT_EGRESS,		/* preemptible on some kernels */
	SLOTS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

struct judged {			/* a file that a handler hands over to the second half */
	u64 file;
	u32 reasons;		/* enum file_reason */
	u32 action;		/* enum inode_action */
	u32 first, second, third;	/* where the path's first components are in the scratch, 0 for none */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct judged);
} judgements SEC(".maps");

struct {			/* filled by the daemon: a program that this kernel refuses leaves its slot empty */
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, HANDLERS);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} handlers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOSSES);
	__type(key, u32);
	__type(value, u64);
} losses SEC(".maps");

struct {			/* which cgroups hold sandboxes */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, struct watched);
} watches SEC(".maps");

struct {			/* the same by path: one that is removed and made again has another number */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct cgroup_path);
	__type(value, struct watched);
} watched_paths SEC(".maps");

struct {			/* by the number of its cgroup */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct sandbox);
} sandboxes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u32);	/* enum response */
} responses SEC(".maps");

struct {			/* root file systems of running sandboxes, by device */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, u64);
} roots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CALLS);
	__type(key, u32);
	__type(value, struct policy);
} policies SEC(".maps");

struct {			/* for the 32-bit entry, whose numbers differ */
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CALLS);
	__type(key, u32);
	__type(value, struct policy);
} compat_policies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct file_name);
	__type(value, u32);
} names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct folder);
	__type(value, u32);
} folders SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct inode_key);
	__type(value, u32);	/* enum inode_action */
} inodes SEC(".maps");

struct {			/* file systems that are watched in whole or in part, by superblock */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, u32);
	__type(value, u32);	/* enum device_action */
} devices SEC(".maps");

const volatile struct settings settings = {};
struct host host = {};
u64 realtime_offset_ns = 1;		/* CLOCK_REALTIME - CLOCK_MONOTONIC, set by the daemon */
