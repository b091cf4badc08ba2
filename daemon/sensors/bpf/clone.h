/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* clone and clone3 into new namespaces, or against the limit of processes. The rest is fork and threads. */
#pragma once

#define NR_clone3 435			/* of both tables */

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_clone, struct pt_regs *registers, long result)
{
	struct scratch *scratch;
	struct called *called;
	struct call call;
	u64 clone_flags;
	u16 flags;

	if (!begin_call(&call, registers, result))
		return 0;
	if (!result)		/* the child comes back from the same call */
		return dull(&call);
	clone_flags = argument(&call, 0);
	if (call.number == NR_clone3 &&		/* the first field of struct clone_args */
	    bpf_probe_read_user(&clone_flags, sizeof(clone_flags), (void *)clone_flags))
		clone_flags = 0;
	if (result == -EAGAIN ? is_limited(call.tag) : !(clone_flags & CLONE_NAMESPACES))
		return dull(&call);
	flags = result == -EAGAIN ? 0 : kill_if(&call, false, false);
	scratch = begin_call_record(&call, RECORD_CALLED, flags, sizeof(*called));
	if (!scratch)
		return 0;
	called = (void *)(scratch->bytes + sizeof(struct record));
	called->arguments[0] = clone_flags;
	submit(scratch, is_alert(&call, flags));
	return 0;
}
