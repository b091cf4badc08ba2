/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* How a task gets into a sandbox, and its fork, exec and exit there. */
#pragma once

/* systemd removes a slice with its last unit and makes it anew for the next. */
SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(on_mkdir, struct cgroup *made, const char *path)
{
	struct cgroup_path key = {};
	struct watched *watched;
	u64 id;

	if (made->root->hierarchy_id != settings.hierarchy_id)
		return 0;
	bpf_probe_read_kernel_str(key.bytes, sizeof(key.bytes), path);
	watched = bpf_map_lookup_elem(&watched_paths, &key);
	if (!watched)
		return 0;
	id = made->kn->id;
	bpf_map_update_elem(&watches, &id, watched, BPF_ANY);
	return 0;
}

/* cgroup v1 calls it once a hierarchy; `leader` is there already. A task inside cannot give others away. */
SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(on_attach, struct cgroup *destination, const char *path, struct task_struct *leader, bool group)
{
	struct task_struct *by = bpf_get_current_task_btf();

	if (!is_inside(tag_of(by)))
		enter(leader, by);
	return 0;
}

static __always_inline void report_fork(struct task_struct *child, struct tag *tag)
{
	struct sandbox *sandbox = sandbox_by(tag->sandbox);
	struct scratch *scratch;
	u32 drift;

	tag->born = drift_of_birth(child, sandbox);
	if (child->pid != child->tgid)
		return;
	drift = drift_of(child, tag, sandbox);
	scratch = begin_record(SLOT_EVENT, child, tag->sandbox, RECORD_FORKED);
	if (!scratch)
		return;
	scratch->record.drift = drift;
	if (drift & ~tag->reported && response_of(tag->sandbox) & KILL_ON_DRIFT)
		scratch->record.flags |= kill_current();
	submit(scratch, drift & ~tag->reported);
	tag->reported |= drift;
}

/* Before the child runs. One that was cloned right into a cgroup was never attached to it. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct tag *tag = tag_of(parent), *copy;

	if (!tag || !tag->sandbox) {
		enter(child, parent);
		return 0;
	}
	copy = make_tag(child);
	if (!copy)
		return 0;
	copy->sandbox = tag->sandbox;
	copy->capabilities = tag->capabilities;
	copy->uid = tag->uid;
	copy->state = tag->state;
	copy->outside_mnt_ns = tag->outside_mnt_ns;
	copy->reported = tag->reported;
	copy->once = tag->once;
	if (is_inside(copy))
		report_fork(child, copy);
	return 0;
}

static __always_inline u32 inet_stdio(struct task_struct *task)
{
	u32 found = 0;
	u64 descriptor;

	for (descriptor = 0; descriptor < 3; descriptor++) {
		struct file *file = file_of(task, descriptor);
		struct socket *socket;
		u16 family;

		if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
			continue;
		socket = BPF_CORE_READ(file, private_data);
		family = BPF_CORE_READ(socket, sk, __sk_common.skc_family);
		if (family == AF_INET || family == AF_INET6)
			found |= 1 << descriptor;
	}
	return found;
}

/* At most `most` bytes of [start, end), a power of two. Returns how many, 0 if they cannot be read. */
static __always_inline u32 append_user_bytes(struct scratch *scratch, u64 start, u64 end, u32 most)
{
	u64 size = end - start;

	if (end <= start)
		return 0;
	if (size > most - 1)
		size = most - 1;
	barrier_var(size);
	size &= most - 1;
	if (bpf_probe_read_user(scratch->bytes + end_of(scratch), size, (void *)start))
		return 0;
	scratch->record.length += size;
	return size;
}

/* A set-uid bit alone does not: PER_CLEAR_ON_SETID is set for root too, to whom it gives nothing. */
static __always_inline bool is_privileged(struct linux_binprm *program)
{
	return BPF_CORE_READ(program, per_clear) && BPF_CORE_READ_BITFIELD_PROBED(program, secureexec);
}

static __always_inline void report_exec(struct task_struct *task, struct linux_binprm *program, u64 sandbox,
					u16 kind, u32 drift, u16 flags, bool alert)
{
	struct scratch *scratch = begin_record(SLOT_EVENT, task, sandbox, kind);
	struct file *file = program->file;
	struct mm_struct *mm = task->mm;
	struct executed *executed;

	if (!scratch)
		return;
	scratch->record.drift = drift;
	scratch->record.flags |= flags;
	scratch->record.length += sizeof(*executed);
	executed = (void *)(scratch->bytes + sizeof(struct record));
	fill_file(&executed->file, file, 0);
	executed->inet_stdio = inet_stdio(task);
	executed->privileged = is_privileged(program);
	executed->file.path_length = append_path(scratch, &file->f_path, 0);
	executed->arguments_length = append_user_bytes(scratch, mm->arg_start, mm->arg_end, ARGUMENTS_BYTES);
	executed->environment_length = append_user_bytes(scratch, mm->env_start, mm->env_end, ENVIRONMENT_BYTES);
	submit(scratch, alert);
}

static __always_inline void report_enrolled(u32 slot, struct task_struct *task, struct tag *tag, u16 flags)
{
	struct sandbox *sandbox = sandbox_by(tag->sandbox);
	struct scratch *scratch = begin_record(slot, task, tag->sandbox, RECORD_ENROLLED);
	struct enrolled *enrolled;

	if (!scratch || !sandbox)
		return;
	enrolled = (void *)(scratch->bytes + sizeof(struct record));
	enrolled->started_ns = sandbox->started_ns;
	enrolled->net_cookie = sandbox->net_cookie;
	enrolled->root_device = sandbox->root_device;
	enrolled->net_ns = sandbox->net_ns;
	enrolled->mnt_ns = sandbox->mnt_ns;
	enrolled->pid_ns = sandbox->pid_ns;
	scratch->record.flags = flags;
	scratch->record.drift = drift_of(task, tag, sandbox);
	tag->reported = scratch->record.drift;
	scratch->record.length += sizeof(*enrolled);
	submit(scratch, true);
}

static __always_inline bool is_host(struct task_struct *task)
{
	u32 mnt_ns = task->nsproxy->mnt_ns->ns.inum;

	return mnt_ns == host.mnt_ns || mnt_ns == settings.own_mnt_ns;
}

/*
 * core_pattern, release_agent, modprobe: the kernel was made to run a sandbox's file on the host. The file
 * system may be shared with others: what counts is that the file lies below the sandbox's root.
 */
static __always_inline void check_host_exec(struct task_struct *task, struct linux_binprm *program)
{
	u32 device = program->file->f_inode->i_sb->s_dev;
	u64 *id = bpf_map_lookup_elem(&roots, &device);
	struct sandbox *sandbox;

	if (!id || !is_host(task))
		return;
	sandbox = sandbox_by(*id);
	if (sandbox && is_below(BPF_CORE_READ(program, file, f_path.dentry), sandbox->root))
		report_exec(task, program, *id, RECORD_HOST_EXECUTED, 0, 0, true);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *program)
{
	struct tag *tag = tag_of(task);
	struct sandbox *sandbox;
	u32 drift, fresh;
	u16 flags = 0;
	bool alert;

	if (!tag || !tag->sandbox) {
		check_host_exec(task, program);
		return 0;
	}
	alert = !is_inside(tag);
	if (alert) {
		if (task->nsproxy->mnt_ns->ns.inum == tag->outside_mnt_ns)
			return 0;
		settle(tag, task);
		report_enrolled(SLOT_EVENT, task, tag, 0);
	}
	sandbox = sandbox_by(tag->sandbox);
	drift = drift_of(task, tag, sandbox);
	fresh = drift & ~tag->reported;
	tag->reported |= drift;
	if (fresh && response_of(tag->sandbox) & KILL_ON_DRIFT)
		flags |= kill_current();
	alert = alert || fresh || changed_since(program->file->f_inode, sandbox);
	report_exec(task, program, tag->sandbox, RECORD_EXECUTED, drift, flags, alert);
	return 0;
}

/* The first process of a pid namespace takes all others with it: its root file system's number is free again. */
static __always_inline void forget_root(struct task_struct *task, u64 id)
{
	struct sandbox *sandbox = sandbox_by(id);
	u64 *owner;

	if (!sandbox || BPF_CORE_READ(own_upid(task), nr) != 1)
		return;
	owner = bpf_map_lookup_elem(&roots, &sandbox->root_device);
	if (owner && *owner == id)
		bpf_map_delete_elem(&roots, &sandbox->root_device);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct tag *tag = tag_of(task);
	struct scratch *scratch;

	if (!is_inside(tag) || task->pid != task->tgid)
		return 0;
	scratch = begin_record(SLOT_EVENT, task, tag->sandbox, RECORD_EXITED);
	if (scratch) {
		scratch->record.result = task->exit_code;
		scratch->record.drift = drift_of(task, tag, sandbox_by(tag->sandbox));
		submit(scratch, scratch->record.drift & ~tag->reported);
	}
	forget_root(task, tag->sandbox);
	return 0;
}
