/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * System calls. One program sees every one of them return, on the whole host, and throws away most of them
 * at once; the others go on to the handler that their policy names. Refused calls are seen as well: seccomp
 * skips sys_enter, never sys_exit. The registers still hold the arguments.
 */
#pragma once

struct call {
	struct pt_regs *registers;
	struct task_struct *task;
	struct tag *tag;
	struct policy *policy;
	struct sandbox *sandbox;
	s64 result;
	u32 number;
	u32 drift;
	u32 fresh;		/* drift that was not reported yet */
	bool compat;
};

static __always_inline bool is_compat(struct task_struct *task)
{
	return task->thread_info.status & TS_COMPAT;
}

static __always_inline struct policy *policy_of(struct task_struct *task, struct pt_regs *registers)
{
	u32 number = registers->orig_ax;

	if (is_compat(task))
		return bpf_map_lookup_elem(&compat_policies, &number);
	number &= ~X32_BIT;
	return bpf_map_lookup_elem(&policies, &number);
}

static __always_inline u64 argument(struct call *call, u32 index)
{
	struct pt_regs *r = call->registers;

	switch (index) {
	case 0:
		return call->compat ? (u32)r->bx : r->di;
	case 1:
		return call->compat ? (u32)r->cx : r->si;
	case 2:
		return call->compat ? (u32)r->dx : r->dx;
	case 3:
		return call->compat ? (u32)r->si : r->r10;
	case 4:
		return call->compat ? (u32)r->di : r->r8;
	case 5:
		return call->compat ? (u32)r->bp : r->r9;
	}
	return 0;
}

static __always_inline void fill_arguments(u64 *arguments, struct call *call)
{
	struct pt_regs *r = call->registers;

	if (call->compat) {
		arguments[0] = (u32)r->bx;
		arguments[1] = (u32)r->cx;
		arguments[2] = (u32)r->dx;
		arguments[3] = (u32)r->si;
		arguments[4] = (u32)r->di;
		arguments[5] = (u32)r->bp;
		return;
	}
	arguments[0] = r->di;
	arguments[1] = r->si;
	arguments[2] = r->dx;
	arguments[3] = r->r10;
	arguments[4] = r->r8;
	arguments[5] = r->r9;
}

/* What every handler starts with. False: not a task of a sandbox. */
static __always_inline bool begin_call(struct call *call, struct pt_regs *registers, long result)
{
	struct task_struct *task = bpf_get_current_task_btf();

	call->registers = registers;
	call->task = task;
	call->policy = policy_of(task, registers);
	call->tag = tag_of(task);
	if (!call->policy || !is_inside(call->tag))
		return false;
	call->sandbox = sandbox_by(call->tag->sandbox);
	call->result = result;
	call->compat = is_compat(task);
	call->number = registers->orig_ax;
	call->tag->drift = drift_of(task, call->tag, call->sandbox);
	call->drift = *(volatile u32 *)&call->tag->drift;
	call->fresh = call->drift & ~call->tag->reported;
	return true;
}

static __always_inline u16 kill_if(struct call *call, bool foreign, bool inode)
{
	u32 response = response_of(call->tag->sandbox);

	if (inode || (call->fresh && response & KILL_ON_DRIFT) || (foreign && response & KILL_ON_FOREIGN) ||
	    (call->policy->kill && response & KILL_ON_CALL))
		return kill_current();
	return 0;
}

/* The header and the arguments. `size` is that of the whole structure after the header, for the caller to fill. */
static __always_inline struct scratch *begin_call_record(struct call *call, u16 kind, u16 flags, u32 size)
{
	struct scratch *scratch = begin_record(SLOT_EVENT, call->task, call->tag->sandbox, kind);
	struct called *called;

	if (!scratch)
		return 0;
	call->tag->reported |= call->drift;
	scratch->record.result = call->result;
	scratch->record.call = call->number;
	scratch->record.drift = call->drift;
	scratch->record.flags = flags | (call->compat || call->number & X32_BIT ? FLAG_COMPAT : 0);
	called = (void *)(scratch->bytes + sizeof(struct record));
	fill_arguments(called->arguments, call);
	scratch->record.length += size;
	return scratch;
}

static __always_inline bool is_alert(struct call *call, u16 flags)
{
	return call->policy->alert || call->fresh || flags & FLAG_KILLED;
}

static __always_inline void append_strings(struct scratch *scratch, struct call *call)
{
	u32 i;

#pragma unroll
	for (i = 0; i < 3; i++)
		if (call->policy->strings[i] != NO_ARGUMENT)
			append_user_string(scratch, argument(call, call->policy->strings[i]));
}

static __always_inline void report_call(struct call *call)
{
	u16 flags = kill_if(call, false, false);
	struct scratch *scratch = begin_call_record(call, RECORD_CALLED, flags, sizeof(struct called));

	if (!scratch)
		return;
	append_strings(scratch, call);
	submit(scratch, is_alert(call, flags));
}

/* For a handler that finds its call dull: a task that has drifted is reported all the same. */
static __always_inline int dull(struct call *call)
{
	if (call->fresh)
		report_call(call);
	return 0;
}

#define LIMIT_NS 1000000000ULL

static __always_inline bool is_limited(struct tag *tag)
{
	u64 now_ns = bpf_ktime_get_ns();

	if (now_ns - tag->limited_ns < LIMIT_NS)
		return true;
	tag->limited_ns = now_ns;
	return false;
}

static __always_inline bool is_wanted(struct policy *policy, long result)
{
	if (policy->when == WHEN_ALWAYS)
		return true;
	if (policy->when == WHEN_FAILED)
		return result < 0;
	return policy->when == WHEN_ERROR && result == policy->only;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_call, struct pt_regs *registers, long result)
{
	struct call call;

	if (begin_call(&call, registers, result))
		report_call(&call);
	return 0;
}
