/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * As much of the kernel's types as the programs read. Offsets are those of the running kernel: the loader
 * relocates every access (CO-RE), so order and size of what is written here mean nothing.
 * A name with ___ is another version of the type before it.
 */
#pragma once

#include <stdbool.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;
typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef s32 __s32;
typedef s64 __s64;
typedef u16 __be16;
typedef u32 __be32;
typedef u32 __wsum;

enum {				/* <linux/bpf.h>, which is not included: it would bring types of its own */
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_F_NO_PREALLOC = 1, BPF_LOCAL_STORAGE_GET_F_CREATE = 1 };

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#define RELOCATED __attribute__((preserve_access_index))

/* --- namespaces, credentials, cgroups */

struct ns_common { u32 inum; } RELOCATED;
struct user_namespace { struct ns_common ns; } RELOCATED;
struct mnt_namespace { struct ns_common ns; } RELOCATED;
struct net { struct ns_common ns; u64 net_cookie; } RELOCATED;
struct xarray { void *xa_head; } RELOCATED;
struct idr { struct xarray idr_rt; } RELOCATED;
struct xa_node { u8 shift; void *slots[64]; } RELOCATED;
struct task_struct;
struct pid_namespace { struct ns_common ns; struct idr idr; struct task_struct *child_reaper; u32 level; } RELOCATED;
struct nsproxy { struct mnt_namespace *mnt_ns; struct net *net_ns; } RELOCATED;

struct hlist_node { struct hlist_node *next; } RELOCATED;
struct hlist_head { struct hlist_node *first; } RELOCATED;
struct upid { int nr; struct pid_namespace *ns; } RELOCATED;
struct pid { u32 level; struct hlist_head tasks[4]; struct upid numbers[1]; } RELOCATED;

typedef struct { u32 val; } kuid_t;
typedef struct { u64 val; } kernel_cap_t;
struct cred { kuid_t uid, euid; kernel_cap_t cap_effective; struct user_namespace *user_ns; } RELOCATED;

struct kernfs_node { u64 id; const char *name; struct kernfs_node *__parent; } RELOCATED;
struct kernfs_node___parent { struct kernfs_node *parent; } RELOCATED;	/* before 6.15 */
struct cgroup_root { u32 hierarchy_id; } RELOCATED;
struct cgroup { struct kernfs_node *kn; struct cgroup_root *root; } RELOCATED;
struct cgroup_subsys_state { struct cgroup *cgroup; } RELOCATED;
struct css_set { struct cgroup_subsys_state *subsys[16]; struct cgroup *dfl_cgrp; } RELOCATED;
enum cgroup_subsys_id { memory_cgrp_id, pids_cgrp_id };

/* --- files */

struct qstr { const u8 *name; } RELOCATED;
struct file_system_type { const char *name; } RELOCATED;
struct dentry;
struct super_block {
	u32 s_dev;
	unsigned long s_magic;
	struct dentry *s_root;
	struct file_system_type *s_type;
} RELOCATED;
struct timespec64 { s64 tv_sec; long tv_nsec; } RELOCATED;
struct inode {
	u16 i_mode;
	u32 i_nlink;
	u32 i_rdev;
	unsigned long i_ino;
	struct super_block *i_sb;
	void *i_private;
	s64 i_ctime_sec;
	u32 i_ctime_nsec;
} RELOCATED;
struct inode___underscores { struct timespec64 __i_ctime; } RELOCATED;	/* 6.6 to 6.10 */
struct inode___timespec { struct timespec64 i_ctime; } RELOCATED;	/* before 6.6 */
struct dentry { struct dentry *d_parent; struct qstr d_name; struct inode *d_inode; } RELOCATED;
struct vfsmount { struct dentry *mnt_root; } RELOCATED;
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
	struct mnt_namespace *mnt_ns;
} RELOCATED;
struct path { struct vfsmount *mnt; struct dentry *dentry; } RELOCATED;
struct file {
	struct inode *f_inode;
	u32 f_flags;
	u32 f_mode;
	struct path f_path;
	void *private_data;
} RELOCATED;
struct fdtable { u32 max_fds; struct file **fd; } RELOCATED;
struct files_struct { struct fdtable *fdt; } RELOCATED;
struct fs_struct { struct path root, pwd; } RELOCATED;
struct proc_inode { struct pid *pid; struct inode vfs_inode; } RELOCATED;

/* --- sockets */

struct in6_addr { u8 bytes[16]; } RELOCATED;
struct sock_common {
	u16 skc_family;
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	u16 skc_num;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} RELOCATED;
struct sock { struct sock_common __sk_common; u16 sk_type; } RELOCATED;
struct socket { struct sock *sk; short type; } RELOCATED;
struct unix_sock { struct path path; struct sock *peer; } RELOCATED;

/* --- tasks */

struct mm_struct {
	unsigned long arg_start, arg_end, env_start, env_end;
	struct file *exe_file;
} RELOCATED;
struct thread_info { u32 status; } RELOCATED;
struct task_struct {
	struct thread_info thread_info;
	u32 flags;
	int pid, tgid;
	int exit_code;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	const struct cred *cred;
	struct nsproxy *nsproxy;
	struct css_set *cgroups;
	struct mm_struct *mm;
	struct files_struct *files;
	struct fs_struct *fs;
	struct pid *thread_pid;
	struct hlist_node pid_links[4];
	char comm[16];
} RELOCATED;
struct linux_binprm {
	struct file *file;
	u32 secureexec : 1;
	u32 per_clear;
} RELOCATED;
struct pt_regs { unsigned long bp, bx, r10, r9, r8, cx, dx, si, di, orig_ax; } RELOCATED;

struct seq_file;
struct bpf_iter_meta { struct seq_file *seq; } RELOCATED;
struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; } RELOCATED;

/* <linux/stat.h>, <linux/fcntl.h>, <linux/errno.h>, <linux/sched.h> and others: numbers that never change */
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_IFCHR 0020000
#define O_ACCMODE 3
#define AT_FDCWD -100
#define O_PATH 010000000
#define FMODE_CREATED 0x100000
#define EPERM 1
#define EAGAIN 11
#define EACCES 13
#define EROFS 30
#define ELOOP 40
#define EINPROGRESS 115
#define SIGKILL 9
#define CLONE_NAMESPACES 0x7e020080	/* NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME */
#define PF_FORKNOEXEC 0x40
#define TS_COMPAT 2
#define X32_BIT 0x40000000
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_ANONYMOUS 0x20
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_DGRAM 2
#define DNS_PORT 53
#define PTRACE_ATTACH 16
#define PTRACE_SEIZE 0x4206
