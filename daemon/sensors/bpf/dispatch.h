/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* From a call's number to its handler. Dull calls end in the first lines: they are paid for by every task. */
#pragma once

SEC("tp_btf/sys_exit")
int BPF_PROG(on_sys_exit, struct pt_regs *registers, long result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct policy *policy = policy_of(task, registers);
	struct tag *tag;
	u32 handler;

	if (!policy || !policy->when || !is_wanted(policy, result))
		return 0;
	tag = tag_of(task);
	if (!is_inside(tag) || (policy->when == WHEN_ERROR && is_limited(tag)))
		return 0;
	handler = policy->handler;
	bpf_tail_call(ctx, &handlers, handler);
	bpf_tail_call(ctx, &handlers, HANDLER_CALL);	/* the empty slot's stand-in: registers alone */
	return 0;
}
