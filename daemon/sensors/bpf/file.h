/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Facts of an open file, from the kernel's objects. */
#pragma once

static __always_inline struct file *file_of(struct task_struct *task, u64 descriptor)
{
	struct fdtable *table = task->files->fdt;
	struct file *file = 0;
	struct file **files;

	if (!table || descriptor >= table->max_fds)
		return 0;
	files = BPF_CORE_READ(table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), &files[descriptor]);
	return file;
}

static __always_inline struct judged *get_judged(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&judgements, &zero);
}

static __always_inline s64 changed_ns(struct inode *inode)
{
	if (bpf_core_field_exists(inode->i_ctime_sec))
		return BPF_CORE_READ(inode, i_ctime_sec) * 1000000000LL + BPF_CORE_READ(inode, i_ctime_nsec);
	if (bpf_core_field_exists(((struct inode___underscores *)inode)->__i_ctime)) {
		struct inode___underscores *older = (void *)inode;

		return BPF_CORE_READ(older, __i_ctime.tv_sec) * 1000000000LL + BPF_CORE_READ(older, __i_ctime.tv_nsec);
	}
	struct inode___timespec *oldest = (void *)inode;

	return BPF_CORE_READ(oldest, i_ctime.tv_sec) * 1000000000LL + BPF_CORE_READ(oldest, i_ctime.tv_nsec);
}

#define CTIME_SLACK_NS 10000000		/* file times are of the last tick: a change right after the start can seem older */

static __always_inline bool changed_since(struct inode *inode, struct sandbox *sandbox)
{
	return sandbox && changed_ns(inode) >= (s64)sandbox->started_real_ns - CTIME_SLACK_NS;
}

static __always_inline void fill_file(struct file_facts *facts, struct file *file, u32 reasons)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	facts->inode = BPF_CORE_READ(inode, i_ino);
	facts->changed_ns = changed_ns(inode);
	facts->device = BPF_CORE_READ(inode, i_sb, s_dev);
	facts->node_device = BPF_CORE_READ(inode, i_rdev);
	facts->mode = BPF_CORE_READ(inode, i_mode);
	facts->links = BPF_CORE_READ(inode, i_nlink);
	facts->flags = BPF_CORE_READ(file, f_flags);
	facts->reasons = reasons;
	facts->path_length = 0;
	facts->spare = 0;
	facts->filesystem[0] = 0;
	bpf_probe_read_kernel_str(facts->filesystem, sizeof(facts->filesystem), BPF_CORE_READ(inode, i_sb, s_type, name));
}
