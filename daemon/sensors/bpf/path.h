/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Where a file is: its components through the mounts above it, and whether it lies below its mount's root. */
#pragma once

static __always_inline struct mount *mount_of(struct vfsmount *vfsmount)
{
	return (struct mount *)((char *)vfsmount - bpf_core_field_offset(struct mount, mnt));
}

/*
 * Appends the components from the leaf to the root of the mount tree and tells `judged`, if given, where the
 * first three are. Where the walk misses the mount's root, it ends at the file system's, whose name is "/"; that
 * of a file without any place (memfd) is its only component. Returns how many bytes that were.
 */
static __always_inline u32 append_path(struct scratch *scratch, struct path *path, struct judged *judged)
{
	struct dentry *dentry = BPF_CORE_READ(path, dentry);
	struct mount *mount = mount_of(BPF_CORE_READ(path, mnt));
	u32 start = end_of(scratch);
	int step;

	for (step = 0; step < PATH_DEPTH; step++) {
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
		u64 end = end_of(scratch);
		long read;

		if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
			struct mount *above = BPF_CORE_READ(mount, mnt_parent);

			if (above == mount)
				return end - start;
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			mount = above;
			continue;
		}
		if (end >= PATH_BYTES)
			break;
		read = bpf_probe_read_kernel_str(scratch->bytes + end, 256, BPF_CORE_READ(dentry, d_name.name));
		if (read <= 0)
			break;
		if (judged) {
			judged->third = judged->second;
			judged->second = judged->first;
			judged->first = end;
		}
		scratch->record.length += read;
		if (dentry == parent)
			return end_of(scratch) - start;
		dentry = parent;
	}
	scratch->record.flags |= FLAG_TRUNCATED;
	count_loss(LOSS_PATH_TOO_DEEP);
	return end_of(scratch) - start;
}

static __always_inline bool is_below(struct dentry *dentry, u64 root)
{
	int step;

	for (step = 0; step < PATH_DEPTH; step++) {
		struct dentry *parent;

		if ((u64)dentry == root)
			return true;
		parent = BPF_CORE_READ(dentry, d_parent);
		if (parent == dentry)
			return false;
		dentry = parent;
	}
	return false;
}

/* Only a mount of a part of a file system has an outside. */
static __always_inline bool is_outside(struct dentry *dentry, struct dentry *mount_root, struct super_block *super)
{
	int step;

	if (mount_root == BPF_CORE_READ(super, s_root))
		return false;
	for (step = 0; step < PATH_DEPTH; step++) {
		struct dentry *parent;

		if (dentry == mount_root)
			return false;
		parent = BPF_CORE_READ(dentry, d_parent);
		if (parent == dentry)
			return true;
		dentry = parent;
	}
	return false;
}

/*
 * Of another mount namespace than the task's. The kernel's internal mounts (pipes, memfd) have an error
 * value for one, lazily unmounted ones have none.
 */
static __always_inline bool is_foreign(struct mount *mount, struct task_struct *task)
{
	struct mnt_namespace *namespace = BPF_CORE_READ(mount, mnt_ns);

	if (!namespace || (unsigned long)namespace >= (unsigned long)-4095)
		return false;
	return namespace != task->nsproxy->mnt_ns;
}
