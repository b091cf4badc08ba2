/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Which sandbox a task belongs to, and how it departs from what that sandbox was. */
#pragma once

#define CGROUP_DEPTH 8

static __always_inline struct kernfs_node *parent_of(struct kernfs_node *node)
{
	if (bpf_core_field_exists(node->__parent))
		return BPF_CORE_READ(node, __parent);
	return BPF_CORE_READ((struct kernfs_node___parent *)node, parent);
}

static __always_inline struct kernfs_node *cgroup_of(struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup_subsys_state *state = 0;
	u32 index;

	if (!settings.hierarchy)
		return BPF_CORE_READ(set, dfl_cgrp, kn);
	index = settings.hierarchy == 1 ? bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)
			       : bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id);
	bpf_core_read(&state, sizeof(state), &set->subsys[index & 15]);
	return BPF_CORE_READ(state, cgroup, kn);
}

static __always_inline bool has_prefix(struct kernfs_node *node, struct watched *watched)
{
	char name[16] = {};
	u32 i;

	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(node, name));
	for (i = 0; i < sizeof(name); i++) {
		if (i >= watched->prefix_length)
			return true;
		if (name[i] != watched->prefix[i])
			return false;
	}
	return true;
}

/* The cgroup that is the task's sandbox: a watched one, or the child of a watched one. Null if there is none. */
static __always_inline struct kernfs_node *sandbox_of(struct task_struct *task)
{
	struct kernfs_node *node = cgroup_of(task), *below = 0;
	int step;

	for (step = 0; step < CGROUP_DEPTH && node; step++) {
		u64 id = BPF_CORE_READ(node, id);
		struct watched *watched = bpf_map_lookup_elem(&watches, &id);

		if (watched && watched->watch == WATCH_ITSELF)
			return node;
		if (watched)
			return below && has_prefix(below, watched) ? below : 0;
		below = node;
		node = parent_of(node);
	}
	return 0;
}

static __always_inline struct tag *tag_of(struct task_struct *task)
{
	return bpf_task_storage_get(&tags, task, 0, 0);
}

static __always_inline struct tag *make_tag(struct task_struct *task)
{
	struct tag *tag = bpf_task_storage_get(&tags, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!tag)
		count_loss(LOSS_NO_TAG);
	return tag;
}

static __always_inline bool is_inside(struct tag *tag)
{
	return tag && tag->state == TAG_INSIDE;
}

/* Tells the daemon the number's name, before anything else about it. */
static __always_inline void announce(u32 slot, struct task_struct *task, struct kernfs_node *node, u64 id)
{
	struct scratch *scratch = begin_record(slot, task, id, RECORD_ATTACHED);
	long read;

	if (!scratch)
		return;
	read = bpf_probe_read_kernel_str(scratch->bytes + sizeof(struct record), 256, BPF_CORE_READ(node, name));
	if (read > 0)
		scratch->record.length += read;
	submit(scratch, true);
}

/* `by` is who put the task there: the runtime, whose mount namespace is the one to leave. */
static __always_inline void enter(struct task_struct *task, struct task_struct *by)
{
	struct kernfs_node *node = sandbox_of(task);
	struct tag *tag;
	u64 id;

	if (!node)
		return;
	id = BPF_CORE_READ(node, id);
	tag = make_tag(task);
	if (!tag || tag->sandbox == id)
		return;
	tag->sandbox = id;
	tag->state = TAG_ENTERING;
	tag->outside_mnt_ns = by->nsproxy->mnt_ns->ns.inum;
	tag->reported = 0;
	tag->once = 0;
	announce(SLOT_EVENT, task, node, id);
}

static __always_inline struct sandbox *sandbox_by(u64 id)
{
	return bpf_map_lookup_elem(&sandboxes, &id);
}

static __always_inline void fill_sandbox(struct sandbox *sandbox, struct task_struct *task)
{
	struct nsproxy *nsproxy = BPF_CORE_READ(task, nsproxy);

	sandbox->started_ns = bpf_ktime_get_ns();
	sandbox->started_real_ns = sandbox->started_ns + realtime_offset_ns;
	sandbox->root = (u64)BPF_CORE_READ(task, fs, root.dentry);
	sandbox->net_cookie = BPF_CORE_READ(nsproxy, net_ns, net_cookie);
	sandbox->mnt_ns = BPF_CORE_READ(nsproxy, mnt_ns, ns.inum);
	sandbox->pid_ns = BPF_CORE_READ(own_upid(task), ns, ns.inum);
	sandbox->user_ns = BPF_CORE_READ(task, cred, user_ns, ns.inum);
	sandbox->net_ns = BPF_CORE_READ(nsproxy, net_ns, ns.inum);
	sandbox->uid = BPF_CORE_READ(task, cred, euid.val);
	sandbox->root_device = BPF_CORE_READ(task, fs, root.dentry, d_inode, i_sb, s_dev);
}

/* A root file system that is the host's own says nothing about who executes from it. */
static __always_inline void open_sandbox(u64 id, struct task_struct *first)
{
	struct sandbox sandbox = {};

	fill_sandbox(&sandbox, first);
	bpf_map_update_elem(&sandboxes, &id, &sandbox, BPF_NOEXIST);
	if (sandbox.root_device != host.root_device && sandbox.root_device != host.own_root_device)
		bpf_map_update_elem(&roots, &sandbox.root_device, &id, BPF_ANY);
}

/* A task stays in the pid namespace that it was forked into. */
static __always_inline u32 drift_of_birth(struct task_struct *task, struct sandbox *sandbox)
{
	struct upid *upid = own_upid(task);

	return sandbox && BPF_CORE_READ(upid, ns, ns.inum) != sandbox->pid_ns ? DRIFT_PID_NAMESPACE : 0;
}

/*
 * The task is inside from now on. The first one sets what the sandbox is; later ones may have other
 * credentials (`docker exec --user`), but the same namespaces and the same root.
 */
static __always_inline void settle(struct tag *tag, struct task_struct *task)
{
	u64 id = tag->sandbox;

	tag->state = TAG_INSIDE;
	tag->uid = task->cred->euid.val;
	tag->capabilities = effective_capabilities(task->cred);
	if (!bpf_map_lookup_elem(&sandboxes, &id))
		open_sandbox(id, task);
	tag->born = drift_of_birth(task, sandbox_by(id));
}

/* Holds whatever the exploit: an exec or a call afterwards shows it. Dropping rights is no drift. */
static __always_inline u32 drift_of(struct task_struct *task, struct tag *tag, struct sandbox *sandbox)
{
	u32 mnt_ns = task->nsproxy->mnt_ns->ns.inum; /* 0 once it is ending: it has given them back */
	const struct cred *cred = task->cred;
	struct fs_struct *fs = task->fs;
	u32 drift = 0;

	if (!sandbox)
		return 0;
	if (mnt_ns && mnt_ns != sandbox->mnt_ns)
		drift |= DRIFT_MOUNT_NAMESPACE;
	drift |= tag->born;
	if (cred->user_ns->ns.inum != sandbox->user_ns)
		drift |= DRIFT_USER_NAMESPACE;
	else if (effective_capabilities(cred) & ~tag->capabilities)
		drift |= DRIFT_CAPABILITIES;
	if (tag->uid && cred->euid.val != tag->uid)
		drift |= DRIFT_UID;
	if (fs && (u64)fs->root.dentry != sandbox->root)
		drift |= DRIFT_ROOT;
	return drift;
}

static __always_inline u32 response_of(u64 id)
{
	u32 *response = bpf_map_lookup_elem(&responses, &id);

	return response ? *response : 0;
}

/* SIGKILL to the current task, which does not return to user mode. Returns the flag to report. */
static __always_inline u16 kill_current(void)
{
	return bpf_send_signal(SIGKILL) ? 0 : FLAG_KILLED;
}
