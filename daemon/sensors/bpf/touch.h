/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Calls on another process: which one it is, and whether it is the caller's own. */
#pragma once

#define NR_ptrace 101
#define NR_ptrace_compat 26
#define NR_pidfd_getfd 438		/* of both tables */

/* Of ptrace, what begins it: the rest works only on what is attached already. */
static __always_inline bool begins_ptrace(struct call *call)
{
	u32 request = argument(call, 0);

	if (call->number != (call->compat ? NR_ptrace_compat : NR_ptrace))
		return true;
	return request == PTRACE_ATTACH || request == PTRACE_SEIZE;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_process, struct pt_regs *registers, long result)
{
	struct called_on_process *called;
	struct task_struct *target;
	struct scratch *scratch;
	struct upid *caller;
	struct call call;
	struct pid *pid;
	u32 number;
	u16 flags;

	if (!begin_call(&call, registers, result))
		return 0;
	if (!begins_ptrace(&call))
		return dull(&call);
	number = argument(&call, call.policy->operand);
	flags = kill_if(&call, false, false);
	scratch = begin_call_record(&call, RECORD_TOUCHED, flags, sizeof(*called));
	if (!scratch)
		return 0;
	called = (void *)(scratch->bytes + sizeof(struct record));
	called->target_pid = number;
	called->target_tid = 0;
	called->descendant = 0;
	called->spare = 0;
	if (call.number == NR_pidfd_getfd) {
		pid = pid_of_descriptor(call.task, number);
	} else {
		caller = own_upid(call.task);
		pid = find_pid(BPF_CORE_READ(caller, ns), number);
	}
	target = task_of(pid);
	if (target) {
		called->target_tid = BPF_CORE_READ(target, pid);
		called->descendant = is_descendant(target, call.task->tgid);
	}
	submit(scratch, is_alert(&call, flags));
	return 0;
}
