/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * io_uring does what system calls do without making them. A request is reported twice: as it is submitted, when
 * its result is not known and a path is but a string; and as it completes, by what it reached. Of those that
 * want no completion, or a file without a descriptor, the first report is all there is. The task may be a thread
 * of the kernel's, which shares the submitter's descriptors.
 */
#pragma once

struct filename { const char *name; } RELOCATED;
struct open_how { u64 flags; } RELOCATED;
struct io_open { int dfd; u32 file_slot; struct filename *filename; struct open_how how; } RELOCATED;
struct io_connect { void *addr; int addr_len; } RELOCATED;
struct io_cqe { s32 res; } RELOCATED;
struct io_kiocb { u8 opcode; struct file *file; struct io_cqe cqe; } RELOCATED;

#define IORING_OP_CONNECT 16		/* <linux/io_uring.h> */
#define IORING_OP_OPENAT 18
#define IORING_OP_OPENAT2 28

static __always_inline struct tag *submitters_tag(struct task_struct *task)
{
	struct tag *tag = tag_of(task);

	return tag ? tag : tag_of(task->group_leader);
}

static __always_inline bool is_ring_open(u8 opcode)
{
	return opcode == IORING_OP_OPENAT || opcode == IORING_OP_OPENAT2;
}

/* Where a relative path begins. */
static __always_inline struct path *base_of(struct task_struct *task, int descriptor)
{
	struct file *file;

	if (descriptor == AT_FDCWD)
		return &task->fs->pwd;
	file = file_of(task, (u32)descriptor);
	return file ? &file->f_path : 0;
}

static __always_inline void report_open_request(struct task_struct *task, struct tag *tag, struct io_kiocb *request)
{
	struct scratch *scratch = begin_record(SLOT_EVENT, task, tag->sandbox, RECORD_RING);
	struct io_open *open = (void *)request;	/* a request begins with what its operation needs */
	struct requested *requested;
	struct path *base;
	long read;

	if (!scratch)
		return;
	scratch->record.call = CALL_RING + request->opcode;
	requested = (void *)(scratch->bytes + sizeof(struct record));
	requested->flags = BPF_CORE_READ(open, how.flags);
	requested->string_length = requested->base_length = 0;
	scratch->record.length += sizeof(*requested);
	read = bpf_probe_read_kernel_str(scratch->bytes + sizeof(struct record) + sizeof(*requested), STRING_BYTES,
					 BPF_CORE_READ(open, filename, name));
	if (read > 0) {
		requested->string_length = read;
		scratch->record.length += read;
	}
	base = base_of(task, BPF_CORE_READ(open, dfd));
	if (base)
		requested->base_length = append_path(scratch, base, 0);
	submit(scratch, true);
}

static __always_inline void report_connection(struct task_struct *task, struct tag *tag, struct io_kiocb *request, s32 result)
{
	struct scratch *scratch = begin_record(SLOT_EVENT, task, tag->sandbox, RECORD_ADDRESS);
	struct io_connect *passed = (void *)request;
	struct called_on_address *called;
	struct socket *socket;

	if (!scratch)
		return;
	scratch->record.call = CALL_RING + IORING_OP_CONNECT;
	scratch->record.result = result;
	scratch->record.length += sizeof(*called);
	called = begin_address(scratch);
	__builtin_memset(called->arguments, 0, sizeof(called->arguments));
	fill_passed(called, (u64)BPF_CORE_READ(passed, addr), BPF_CORE_READ(passed, addr_len));
	if (!result) {
		socket = BPF_CORE_READ(request, file, private_data);
		fill_connected(scratch, called, BPF_CORE_READ(socket, sk), task);
	}
	submit(scratch, true);
}

static __always_inline int report_request(struct io_kiocb *request)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct tag *tag = submitters_tag(task);
	u8 opcode = request->opcode;

	if (!is_inside(tag))
		return 0;
	if (is_ring_open(opcode))
		report_open_request(task, tag, request);
	else if (opcode == IORING_OP_CONNECT)
		report_connection(task, tag, request, -EINPROGRESS);
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

static __always_inline void report_reached(struct task_struct *task, struct tag *tag, u8 opcode, s32 result)
{
	struct file *file = file_of(task, result);
	struct judged *judged = get_judged();
	struct called_on_file *called;
	struct scratch *scratch;
	u32 path_length;

	if (!file || !judged)
		return;
	judge(judged, file, task);
	if (!(judged->reasons & (REPORTED_ANYWAY | FILE_WRITE)))
		return;
	scratch = begin_record(SLOT_EVENT, task, tag->sandbox, RECORD_FILE);
	if (!scratch)
		return;
	scratch->record.call = CALL_RING + opcode;
	scratch->record.result = result;
	scratch->record.flags = FLAG_RESOLVED;
	scratch->record.length += sizeof(*called);
	called = (void *)(scratch->bytes + sizeof(struct record));
	__builtin_memset(called->arguments, 0, sizeof(called->arguments));
	judged->first = judged->second = judged->third = 0;
	path_length = append_path(scratch, &file->f_path, judged);
	if (judged->reasons & FILE_WRITE && is_in_system_folder(scratch, judged))
		judged->reasons |= FILE_SYSTEM_FOLDER;
	else if (!(judged->reasons & REPORTED_ANYWAY))
		return;
	if (judged->action & INODE_KILL || (judged->reasons & (FILE_FOREIGN | FILE_OUTSIDE) &&
					    response_of(tag->sandbox) & KILL_ON_FOREIGN))
		scratch->record.flags |= kill_current();
	fill_file(&called->file, file, judged->reasons);
	called->file.path_length = path_length;
	submit(scratch, true);
}

/* Before 5.19 the second argument was not the request, which had no field `cqe`: it does not load there. */
SEC("tp_btf/io_uring_complete")
int BPF_PROG(on_ring_completion, void *ring, struct io_kiocb *request)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct tag *tag = submitters_tag(task);
	u8 opcode;
	s32 result;

	if (!request || !is_inside(tag))
		return 0;
	opcode = BPF_CORE_READ(request, opcode);
	result = BPF_CORE_READ(request, cqe.res);
	if (opcode == IORING_OP_CONNECT)
		report_connection(task, tag, request, result);
	else if (is_ring_open(opcode) && result >= 0 && !BPF_CORE_READ((struct io_open *)request, file_slot))
		report_reached(task, tag, opcode, result);
	return 0;
}
