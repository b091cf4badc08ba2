/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* A record is put together in this CPU's scratch and copied into a ring; what cannot be is counted. */
#pragma once

static __always_inline void count_loss(u32 reason)
{
	u64 *count = bpf_map_lookup_elem(&losses, &reason);

	if (count)
		(*count)++;
}

static __always_inline struct scratch *get_scratch(u32 slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);

	if (!scratch)
		count_loss(LOSS_NO_SCRATCH);
	return scratch;
}

/* The namespace that the task is in, not the one its children will be in. */
static __always_inline struct upid *own_upid(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	u32 level = BPF_CORE_READ(pid, level);

	if (level > 32)		/* MAX_PID_NS_LEVEL */
		return 0;
	return (struct upid *)((char *)pid + bpf_core_field_offset(struct pid, numbers) +
			       level * bpf_core_type_size(struct upid));
}

/* Two words of 32 bits before 6.3, one of 64 since. `cred` is a trusted pointer. */
static __always_inline u64 effective_capabilities(const struct cred *cred)
{
	u64 capabilities = 0;

	if (bpf_core_field_exists(cred->cap_effective.val))
		return cred->cap_effective.val;
	bpf_core_read(&capabilities, sizeof(capabilities), &cred->cap_effective);
	return capabilities;
}

/* Fills the header. `task` is a trusted pointer, so that most fields are plain loads. */
static __always_inline struct scratch *begin_record(u32 slot, struct task_struct *task, u64 sandbox, u16 kind)
{
	struct scratch *scratch = get_scratch(slot);
	struct upid *upid;
	struct record *record;

	if (!scratch)
		return 0;
	record = &scratch->record;
	record->time_ns = bpf_ktime_get_ns();
	record->length = sizeof(*record);
	record->kind = kind;
	record->flags = 0;
	record->sandbox = sandbox;
	record->capabilities = effective_capabilities(task->cred);
	record->result = 0;
	record->pid = task->tgid;
	record->tid = task->pid;
	record->ppid = task->real_parent->tgid;
	record->uid = task->cred->euid.val;
	record->mnt_ns = task->nsproxy->mnt_ns->ns.inum;
	record->net_ns = task->nsproxy->net_ns->ns.inum;
	record->user_ns = task->cred->user_ns->ns.inum;
	upid = own_upid(task);
	record->pid_ns = BPF_CORE_READ(upid, ns, ns.inum);
	record->ns_tid = BPF_CORE_READ(upid, nr);
	record->drift = 0;
	record->call = 0;
	record->spare = 0;
	bpf_probe_read_kernel(record->comm, sizeof(record->comm), &task->comm);
	return scratch;
}

/*
 * How long the record is so far, as an offset. It is kept in the record, for the verifier forgets what it knew
 * of memory: it would follow every length that a register could have.
 */
static __always_inline u64 end_of(struct scratch *scratch)
{
	u64 end = *(volatile u32 *)&scratch->record.length;

	barrier_var(end);
	return end & RECORD_MASK;
}

static __always_inline void submit(struct scratch *scratch, bool alert)
{
	u64 length = end_of(scratch);

	if (alert) {
		if (bpf_ringbuf_output(&alerts, scratch, length, 0))
			count_loss(LOSS_ALERTS_FULL);
	} else if (bpf_ringbuf_output(&bulk, scratch, length, 0)) {
		count_loss(LOSS_BULK_FULL);
	}
}

/* Appends the string at a user address, "" where it cannot be read. */
static __always_inline void append_user_string(struct scratch *scratch, unsigned long address)
{
	u64 end = end_of(scratch);
	long read = bpf_probe_read_user_str(scratch->bytes + end, STRING_BYTES, (void *)address);

	if (read <= 0) {
		if (address) {
			scratch->record.flags |= FLAG_UNREADABLE;
			count_loss(LOSS_UNREADABLE);
		}
		scratch->bytes[end] = 0;
		read = 1;
	}
	scratch->record.length += read;
}
