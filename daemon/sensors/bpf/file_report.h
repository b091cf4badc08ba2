/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The second half of handlers that report a file: the walk of its path, and whether it lies in a system folder. */
#pragma once

#define ALERTING (FILE_KERNEL | FILE_DEVICE | FILE_FOREIGN | FILE_OUTSIDE | FILE_WATCHED)

static __always_inline bool is_in_system_folder(struct scratch *scratch, struct judged *judged)
{
	struct folder key = {};
	u64 at = judged->first;

	if (!judged->second)	/* a file right in the root */
		return false;
	barrier_var(at);
	at &= RECORD_MASK;
	bpf_probe_read_kernel_str(key.first, sizeof(key.first), scratch->bytes + at);
	if (bpf_map_lookup_elem(&folders, &key))
		return true;
	at = judged->second;
	barrier_var(at);
	at &= RECORD_MASK;
	bpf_probe_read_kernel_str(key.second, sizeof(key.second), scratch->bytes + at);
	if (bpf_map_lookup_elem(&folders, &key))
		return true;
	if (!judged->third)
		return false;
	at = judged->third;
	barrier_var(at);
	at &= RECORD_MASK;
	bpf_probe_read_kernel_str(key.third, sizeof(key.third), scratch->bytes + at);
	return bpf_map_lookup_elem(&folders, &key);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_file, struct pt_regs *registers, long result)
{
	struct judged *judged = get_judged();
	struct called_on_file *called;
	struct scratch *scratch;
	struct file *file;
	struct call call;
	u32 path_length;
	u16 flags;

	if (!judged || !begin_call(&call, registers, result))
		return 0;
	file = (void *)judged->file;
	flags = kill_if(&call, judged->reasons & (FILE_FOREIGN | FILE_OUTSIDE), judged->action & INODE_KILL);
	scratch = begin_call_record(&call, RECORD_FILE, flags | FLAG_RESOLVED, sizeof(*called));
	if (!scratch)
		return 0;
	judged->first = judged->second = judged->third = 0;
	called = (void *)(scratch->bytes + sizeof(struct record));
	path_length = append_path(scratch, &file->f_path, judged);
	if (judged->reasons & FILE_WRITE && is_in_system_folder(scratch, judged))
		judged->reasons |= FILE_SYSTEM_FOLDER;
	else if (!(judged->reasons & REPORTED_ANYWAY) && !call.fresh)
		return 0;
	fill_file(&called->file, file, judged->reasons);
	called->file.path_length = path_length;
	submit(scratch, is_alert(&call, flags) || judged->reasons & ALERTING);
	return 0;
}
