/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Tasks that ran before the sensor. The daemon reads the iterator once after attaching the other programs. */
#pragma once

/*
 * The runtime's child is moved into the sandbox's namespaces before it executes the first program: it still
 * runs the host's file, came from outside, and has not executed anything since its fork.
 */
static __always_inline bool is_runtime(struct task_struct *task)
{
	struct file *program = BPF_CORE_READ(task, mm, exe_file);
	struct mount *mount = mount_of(BPF_CORE_READ(program, f_path.mnt));
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);

	if (!(BPF_CORE_READ(task, flags) & PF_FORKNOEXEC))
		return false;
	if (BPF_CORE_READ(own_upid(task), ns) == BPF_CORE_READ(own_upid(parent), ns))
		return false;
	return BPF_CORE_READ(mount, mnt_ns) != BPF_CORE_READ(task, nsproxy, mnt_ns);
}

/* Its first process, if the sandbox has a pid namespace of its own: others may have drifted already. */
static __always_inline void seed_sandbox(struct task_struct *task, u64 id)
{
	struct pid_namespace *namespace = BPF_CORE_READ(own_upid(task), ns);
	struct task_struct *first = task;

	if (bpf_map_lookup_elem(&sandboxes, &id))
		return;
	if (BPF_CORE_READ(namespace, level))
		first = BPF_CORE_READ(namespace, child_reaper);
	open_sandbox(id, first);
}

#define PID_KTHREADD 2

/*
 * From init, or where a kernel does not show it, from kthreadd, in whose namespaces the kernel's own helpers
 * run; and from the daemon, who reads the iterator and may have a root of its own.
 */
static __always_inline void learn_host(struct task_struct *task)
{
	struct task_struct *daemon = bpf_get_current_task_btf();

	host.own_root_device = BPF_CORE_READ(daemon, fs, root.dentry, d_inode, i_sb, s_dev);
	if (host.mnt_ns || task->pid > PID_KTHREADD)
		return;
	host.mnt_ns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	host.net_ns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	host.root_device = BPF_CORE_READ(task, fs, root.dentry, d_inode, i_sb, s_dev);
}

SEC("iter/task")
int seed(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct kernfs_node *node;
	struct tag *tag;
	u32 mnt_ns;
	u64 id;

	if (!task)
		return 0;
	mnt_ns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	learn_host(task);
	node = sandbox_of(task);
	if (!node || !mnt_ns) /* none once it is ending */
		return 0;
	id = BPF_CORE_READ(node, id);
	tag = make_tag(task);
	if (!tag || tag->sandbox)
		return 0;
	tag->sandbox = id;
	tag->outside_mnt_ns = host.mnt_ns;
	announce(SLOT_SEED, task, node, id);
	if (mnt_ns == host.mnt_ns || mnt_ns == settings.own_mnt_ns || is_runtime(task)) {
		tag->state = TAG_ENTERING;
		return 0;
	}
	seed_sandbox(task, id);
	settle(tag, task);
	if (task->pid == task->tgid)
		report_enrolled(SLOT_SEED, task, tag, FLAG_RUNNING);
	return 0;
}
