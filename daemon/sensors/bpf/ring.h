/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * io_uring does what system calls do without making them. Its requests are reported as they are submitted,
 * before they are carried out: the result is not known. The submitter may be a thread of the kernel's.
 */
#pragma once

struct filename { const char *name; } RELOCATED;
struct io_open { struct filename *filename; } RELOCATED;
struct io_kiocb { u8 opcode; struct file *file; } RELOCATED;

#define IORING_OP_CONNECT 16		/* <linux/io_uring.h> */
#define IORING_OP_OPENAT 18
#define IORING_OP_OPENAT2 28

static __always_inline int report_request(struct io_kiocb *request)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct io_open *open = (void *)request;	/* a request begins with what its operation needs */
	struct tag *tag = tag_of(task);
	struct scratch *scratch;
	struct called *called;
	u8 opcode = request->opcode;
	long read;

	if (!tag)
		tag = tag_of(task->group_leader);
	if (!is_inside(tag))
		return 0;
	if (opcode != IORING_OP_OPENAT && opcode != IORING_OP_OPENAT2 && opcode != IORING_OP_CONNECT)
		return 0;
	scratch = begin_record(SLOT_EVENT, task, tag->sandbox, RECORD_RING);
	if (!scratch)
		return 0;
	scratch->record.call = opcode;
	scratch->record.length += sizeof(*called);
	called = (void *)(scratch->bytes + sizeof(struct record));
	__builtin_memset(called, 0, sizeof(*called));
	if (opcode != IORING_OP_CONNECT) {
		read = bpf_probe_read_kernel_str(scratch->bytes + sizeof(struct record) + sizeof(*called),
						 STRING_BYTES, BPF_CORE_READ(open, filename, name));
		if (read > 0)
			scratch->record.length += read;
	}
	submit(scratch, true);
	return 0;
}

SEC("tp_btf/io_uring_submit_req")
int BPF_PROG(on_ring_request, struct io_kiocb *request)
{
	return report_request(request);
}

SEC("tp_btf/io_uring_submit_sqe")	/* its name before 6.3 */
int BPF_PROG(on_ring_request_old, struct io_kiocb *request, bool force_nonblock)
{
	return report_request(request);
}
