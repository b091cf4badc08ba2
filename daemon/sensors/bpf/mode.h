/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* chmod and mknod: only modes that give rights, only nodes that are devices. */
#pragma once

#define SET_ID 06000
#define EXECUTABLE 0111

static __always_inline bool gives_rights(u64 mode, long result)
{
	return mode & SET_ID || (result == -EPERM && mode & EXECUTABLE);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_mode, struct pt_regs *registers, long result)
{
	struct judged *judged = get_judged();
	struct file *file;
	struct call call;

	if (!judged || !begin_call(&call, registers, result))
		return 0;
	if (!gives_rights(argument(&call, call.policy->operand), result))
		return dull(&call);
	file = call.policy->strings[0] == NO_ARGUMENT ? file_of(call.task, (u32)argument(&call, 0)) : 0;
	if (file) {
		judged->file = (u64)file;
		judged->action = 0;
		judged->reasons = FILE_WATCHED;
		bpf_tail_call(ctx, &handlers, HANDLER_FILE);
	}
	report_call(&call);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_node, struct pt_regs *registers, long result)
{
	struct call call;
	u64 kind;

	if (!begin_call(&call, registers, result))
		return 0;
	kind = argument(&call, call.policy->operand) & S_IFMT;
	if (kind != S_IFBLK && kind != S_IFCHR)
		return dull(&call);
	report_call(&call);
	return 0;
}
