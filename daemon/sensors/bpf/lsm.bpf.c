// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * Denial, where the kernel runs BPF as a security module: an object of its own, for kernels that do not refuse
 * it as a whole. It shares the sensor's maps, and so its tags. What is denied is reported by the sensor: the
 * call fails with EPERM.
 */
#include "kernel.h"
#include "sensor.h"
#include "maps.h"
#include "record.h"
#include "path.h"
#include "file.h"
#include "tag.h"
#include "process.h"

#define PTRACE_MODE_ATTACH 2		/* <linux/ptrace.h> */

/* The current task's, null if it is not inside a sandbox. The runtime on its way in may do anything. */
static __always_inline struct tag *inside(void)
{
	struct tag *tag = tag_of(bpf_get_current_task_btf());

	return is_inside(tag) ? tag : 0;
}

static __always_inline bool denies_escapes(void)
{
	struct tag *tag = inside();

	return tag && response_of(tag->sandbox) & DENY_ESCAPES;
}

static __always_inline bool denies_inode(struct inode *inode)
{
	u32 device = BPF_CORE_READ(inode, i_sb, s_dev);
	u32 *watched = bpf_map_lookup_elem(&devices, &device), *action;
	struct inode_key key = { .device = device };

	if (!watched || !(*watched & DEVICE_HAS_INODES))
		return false;
	key.inode = BPF_CORE_READ(inode, i_ino);
	action = bpf_map_lookup_elem(&inodes, &key);
	return action && *action & INODE_DENY && inside();
}

/* What another module refused stays refused. Old verifiers want to see a constant, not an expression that is one. */
static __always_inline int verdict(int before, bool denied)
{
	if (before)
		return before;
	if (denied) {
		asm volatile("");
		return -EPERM;
	}
	return 0;
}

SEC("lsm/file_open")
int BPF_PROG(deny_file_open, struct file *file, int before)
{
	return verdict(before, denies_inode(file->f_inode));
}

SEC("lsm/bprm_check_security")
int BPF_PROG(deny_bprm_check_security, struct linux_binprm *program, int before)
{
	return verdict(before, denies_inode(program->file->f_inode));
}

/* A socket file is connected to, not opened. */
SEC("lsm/unix_stream_connect")
int BPF_PROG(deny_unix_stream_connect, struct sock *sock, struct sock *other, struct sock *made, int before)
{
	struct inode *inode = BPF_CORE_READ((struct unix_sock *)other, path.dentry, d_inode);

	return verdict(before, inode && denies_inode(inode));
}

SEC("lsm/sb_mount")
int BPF_PROG(deny_sb_mount, const char *device, const struct path *path, const char *type, unsigned long flags,
	     void *data, int before)
{
	return verdict(before, denies_escapes());
}

/* The newer way to mount, which sb_mount does not see. */
SEC("lsm/move_mount")
int BPF_PROG(deny_move_mount, const struct path *from, const struct path *to, int before)
{
	return verdict(before, denies_escapes());
}

SEC("lsm/ptrace_access_check")
int BPF_PROG(deny_ptrace_access_check, struct task_struct *child, unsigned int mode, int before)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return verdict(before, mode & PTRACE_MODE_ATTACH && denies_escapes() && !is_descendant(child, task->tgid));
}

SEC("lsm/userns_create")
int BPF_PROG(deny_userns_create, const struct cred *cred, int before)
{
	return verdict(before, denies_escapes());
}

SEC("lsm/bpf")
int BPF_PROG(deny_bpf, int command, void *attributes, unsigned int size, int before)
{
	return verdict(before, denies_escapes());
}

SEC("lsm/kernel_module_request")
int BPF_PROG(deny_kernel_module_request, char *name, int before)
{
	return verdict(before, denies_escapes());
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
