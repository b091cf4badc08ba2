/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Other processes: by their number, which is looked up as the kernel does, and by their lineage. */
#pragma once

#define XA_CHUNK_BITS 6			/* <linux/xarray.h>; the slots of a node are 1 << XA_CHUNK_BITS */
#define XA_NODE 2			/* the low bits of an entry that points to a node */
#define XA_LEVELS 4			/* enough for PID_MAX_LIMIT, 1 << 22 */
#define LINEAGE_DEPTH 16

/* idr_find() of lib/idr.c: a radix tree whose leaves are struct pid. */
static __always_inline struct pid *find_pid(struct pid_namespace *namespace, u32 number)
{
	unsigned long entry = (unsigned long)BPF_CORE_READ(namespace, idr.idr_rt.xa_head);
	int level;

	for (level = 0; level <= XA_LEVELS && (entry & 3) == XA_NODE; level++) {
		struct xa_node *node = (void *)(entry - XA_NODE);
		u32 shift = BPF_CORE_READ(node, shift);
		u64 index;

		if (shift > 30 || (!level && number >> shift >> XA_CHUNK_BITS))
			return 0;
		index = number >> shift & ((1 << XA_CHUNK_BITS) - 1);
		bpf_core_read(&entry, sizeof(entry), &node->slots[index]);
	}
	return level && (entry & 3) ? 0 : (struct pid *)entry;
}

static __always_inline struct task_struct *task_of(struct pid *pid)
{
	struct hlist_node *link = BPF_CORE_READ(pid, tasks[0].first);

	return link ? (void *)((char *)link - bpf_core_field_offset(struct task_struct, pid_links)) : 0;
}

static __always_inline bool is_descendant(struct task_struct *task, u32 ancestor)
{
	int step;

	for (step = 0; step < LINEAGE_DEPTH; step++) {
		struct task_struct *parent = BPF_CORE_READ(task, real_parent);
		u32 pid = BPF_CORE_READ(parent, tgid);

		if (pid == ancestor)
			return true;
		if (pid <= 1)
			return false;
		task = parent;
	}
	return false;
}

#define PIDFS_MAGIC 0x50494446		/* <linux/magic.h>: since 6.9 pidfds have inodes of their own */

static __always_inline struct pid *pid_of_descriptor(struct task_struct *task, u64 descriptor)
{
	struct file *file = file_of(task, descriptor);

	if (!file)
		return 0;
	if (BPF_CORE_READ(file, f_inode, i_sb, s_magic) == PIDFS_MAGIC)
		return BPF_CORE_READ(file, f_inode, i_private);
	return BPF_CORE_READ(file, private_data);
}
