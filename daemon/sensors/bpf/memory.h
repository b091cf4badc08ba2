/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Memory that becomes code: files that are not the image's, and pages that can be written and executed. */
#pragma once

#define NR_mmap 9
#define NR_mmap2_compat 192

static __always_inline bool is_mmap(struct call *call)
{
	return call->number == (call->compat ? NR_mmap2_compat : NR_mmap);
}

static __always_inline struct file *mapped_file(struct call *call)
{
	if (!is_mmap(call) || argument(call, 3) & MAP_ANONYMOUS)
		return 0;
	return file_of(call->task, (u32)argument(call, 4));
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_map, struct pt_regs *registers, long result)
{
	struct judged *judged = get_judged();
	u64 protection;
	struct file *file;
	struct call call;

	if (!judged || !begin_call(&call, registers, result))
		return 0;
	protection = argument(&call, 2);
	if (!(protection & PROT_EXEC))
		return dull(&call);
	file = mapped_file(&call);
	if (file && result >= 0 && changed_since(BPF_CORE_READ(file, f_inode), call.sandbox)) {
		judged->file = (u64)file;
		judged->action = 0;
		judged->reasons = FILE_FRESH;
		bpf_tail_call(ctx, &handlers, HANDLER_FILE);
		return 0;
	}
	if (file || !(protection & PROT_WRITE) || call.tag->once & ONCE_WRITABLE_CODE)
		return dull(&call);
	call.tag->once |= ONCE_WRITABLE_CODE;
	report_call(&call);
	return 0;
}
