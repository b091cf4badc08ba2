/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Opens, judged by the file that was reached and not by the path that was passed. Most are dull, so that the
 * cheap questions come first and the path is walked only for what is reported.
 */
#pragma once

#define PROC_SUPER_MAGIC 0x9fa0		/* <linux/magic.h> */
#define SYSFS_MAGIC 0x62656572
#define CGROUP_SUPER_MAGIC 0x27e0eb
#define CGROUP2_SUPER_MAGIC 0x63677270
#define DEBUGFS_MAGIC 0x64626720
#define TRACEFS_MAGIC 0x74726163
#define SECURITYFS_MAGIC 0x73636673
#define BPF_FS_MAGIC 0xcafe4a11
#define CONFIGFS_MAGIC 0x62656570
#define EFIVARFS_MAGIC 0xde5e81e4
#define BINFMTFS_MAGIC 0x42494e4d
#define TMPFS_MAGIC 0x01021994

static __always_inline bool is_kernel_file_system(unsigned long magic)
{
	switch (magic) {
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case CGROUP_SUPER_MAGIC:
	case CGROUP2_SUPER_MAGIC:
	case DEBUGFS_MAGIC:
	case TRACEFS_MAGIC:
	case SECURITYFS_MAGIC:
	case BPF_FS_MAGIC:
	case CONFIGFS_MAGIC:
	case EFIVARFS_MAGIC:
	case BINFMTFS_MAGIC:
		return true;
	}
	return false;
}

/* It has the magic of tmpfs, of which it is a kind. */
static __always_inline bool is_devtmpfs(struct super_block *super)
{
	char name[4] = {};

	bpf_probe_read_kernel(name, sizeof(name), BPF_CORE_READ(super, s_type, name));
	return name[0] == 'd' && name[1] == 'e' && name[2] == 'v';
}

/* null, zero, full, random, urandom; tty, console, ptmx; pts (Documentation/admin-guide/devices.txt). */
static __always_inline bool is_harmless(u32 device)
{
	u32 major = device >> 20, minor = device & 0xfffff;

	if (major == 1)
		return minor == 3 || minor == 5 || minor == 7 || minor == 8 || minor == 9;
	if (major == 5)
		return minor <= 2;
	return major >= 136 && major <= 143;
}

static __always_inline bool is_name_watched(const void *name)
{
	struct file_name key = {};
	long read = bpf_probe_read_kernel_str(key.bytes, sizeof(key.bytes), name);

	return read > 1 && bpf_map_lookup_elem(&names, &key);
}

/* /proc/PID and below, of a process other than the task's own. */
static __always_inline bool is_of_other_process(struct inode *inode, struct task_struct *task)
{
	struct proc_inode *entry = (void *)((char *)inode - bpf_core_field_offset(struct proc_inode, vfs_inode));
	struct pid *pid = BPF_CORE_READ(entry, pid);

	return pid && pid != task->thread_pid && pid != task->group_leader->thread_pid;
}

static __always_inline void judge_watched(struct judged *judged, struct inode *inode, u32 device)
{
	struct inode_key key = { .device = device };
	u32 *watched = bpf_map_lookup_elem(&devices, &device), *action;

	judged->action = 0;
	if (!watched)
		return;
	if (*watched & DEVICE_REPORT)
		judged->reasons |= FILE_WATCHED;
	if (!(*watched & DEVICE_HAS_INODES))
		return;
	key.inode = BPF_CORE_READ(inode, i_ino);
	action = bpf_map_lookup_elem(&inodes, &key);
	if (!action)
		return;
	judged->reasons |= FILE_WATCHED;
	judged->action = *action;
}

/* What can be told without a walk. The bits are kept in memory: the verifier would follow every combination. */
static __always_inline void judge(struct judged *judged, struct file *file, struct task_struct *task)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct super_block *super = BPF_CORE_READ(inode, i_sb);
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct mount *mount = mount_of(BPF_CORE_READ(file, f_path.mnt));
	u32 kind = BPF_CORE_READ(inode, i_mode) & S_IFMT;
	unsigned long magic = BPF_CORE_READ(super, s_magic);

	judged->file = (u64)file;
	judged->reasons = 0;
	if (BPF_CORE_READ(file, f_flags) & O_ACCMODE)
		judged->reasons |= FILE_WRITE;
	if (BPF_CORE_READ(file, f_mode) & FMODE_CREATED)
		judged->reasons |= FILE_CREATED;
	if (judged->reasons && (is_kernel_file_system(magic) || (magic == TMPFS_MAGIC && is_devtmpfs(super))))
		judged->reasons |= FILE_KERNEL;
	if (kind == S_IFBLK || (kind == S_IFCHR && !is_harmless(BPF_CORE_READ(inode, i_rdev))))
		judged->reasons |= FILE_DEVICE;
	if (magic == PROC_SUPER_MAGIC && is_of_other_process(inode, task))
		judged->reasons |= FILE_OTHER_PROCESS;
	if (is_foreign(mount, task))
		judged->reasons |= FILE_FOREIGN;
	if (is_outside(dentry, BPF_CORE_READ(mount, mnt.mnt_root), super))
		judged->reasons |= FILE_OUTSIDE;
	judge_watched(judged, inode, BPF_CORE_READ(super, s_dev));
	if (is_name_watched(BPF_CORE_READ(dentry, d_name.name)))
		judged->reasons |= FILE_NAMED;
}

#define REPORTED_ANYWAY                                                                               \
	(FILE_KERNEL | FILE_DEVICE | FILE_OTHER_PROCESS | FILE_FOREIGN | FILE_OUTSIDE | FILE_WATCHED | \
	 FILE_NAMED | FILE_FRESH)

static __always_inline bool is_refused(long result)
{
	return result == -EACCES || result == -EPERM || result == -EROFS || result == -ELOOP;
}

/* The last component of the string that was passed; names are at most NAME_BYTES long. */
static __always_inline bool is_passed_name_watched(struct call *call)
{
	struct scratch *scratch = get_scratch(SLOT_EVENT);
	u64 end, start;
	long read;
	u32 i;

	if (!scratch || call->policy->strings[0] == NO_ARGUMENT)
		return false;
	read = bpf_probe_read_user_str(scratch->bytes, STRING_BYTES, (void *)argument(call, call->policy->strings[0]));
	if (read <= 1)
		return false;
	end = read - 1;
	start = end;
	for (i = 0; i < NAME_BYTES && start; i++) {
		u64 before = start - 1;

		barrier_var(before);
		before &= STRING_BYTES - 1;
		if (scratch->bytes[before] == '/')
			break;
		start = before;
	}
	barrier_var(start);
	start &= STRING_BYTES - 1;
	return is_name_watched(scratch->bytes + start);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_open, struct pt_regs *registers, long result)
{
	struct judged *judged = get_judged();
	struct file *file;
	struct call call;

	if (!judged || !begin_call(&call, registers, result))
		return 0;
	if (result < 0) {
		if (!is_refused(result) && !is_passed_name_watched(&call))
			return dull(&call);
		report_call(&call);
		return 0;
	}
	file = file_of(call.task, result);
	if (!file)
		return dull(&call);
	judge(judged, file, call.task);
	if (judged->reasons & (REPORTED_ANYWAY | FILE_WRITE) || call.fresh)
		bpf_tail_call(ctx, &handlers, HANDLER_FILE);
	return 0;
}
