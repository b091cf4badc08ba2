/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Whom sockets talk to. Where a connection stands, the address is the kernel's; for an attempt it is what was
 * passed, which a second thread may have changed since.
 */
#pragma once

#define ALERTING_ERROR(result) ((result) == -EPERM || (result) == -EACCES)
#define CALL_TCP_CONNECT 0xffffffff	/* no system call: a handshake that began */
#define TCP_SYN_SENT 2
#define NR_bind 49
#define NR_bind_compat 361
#define NR_socketcall_compat 102
#define SYS_BIND 2			/* <linux/net.h> */
#define SYS_CONNECT 3

struct sockaddr_storage {		/* <linux/socket.h>, as far as these families go */
	u16 family;
	union {
		struct { u16 port; u8 address[4]; } v4;
		struct { u16 port; u32 flow; u8 address[16]; } __attribute__((packed)) v6;
		char path[UNIX_PATH_BYTES];
	};
};

static __always_inline u16 host_order(u16 big)
{
	return __builtin_bswap16(big);
}

/* The sock behind a descriptor, null if that is no socket. */
static __always_inline struct sock *sock_of(struct task_struct *task, u64 descriptor)
{
	struct file *file = file_of(task, descriptor);
	struct socket *socket;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}

static __always_inline void clear_address(struct called_on_address *called)
{
	__builtin_memset((char *)called + sizeof(struct called), 0, sizeof(*called) - sizeof(struct called));
}

static __always_inline void fill_peer(struct called_on_address *called, struct sock *sock)
{
	called->family = BPF_CORE_READ(sock, __sk_common.skc_family);
	called->port = host_order(BPF_CORE_READ(sock, __sk_common.skc_dport));
	if (called->family == AF_INET6)
		bpf_core_read(called->address, 16, &sock->__sk_common.skc_v6_daddr);
	else
		bpf_core_read(called->address, 4, &sock->__sk_common.skc_daddr);
}

static __always_inline void fill_own(struct called_on_address *called, struct sock *sock)
{
	called->family = BPF_CORE_READ(sock, __sk_common.skc_family);
	called->port = BPF_CORE_READ(sock, __sk_common.skc_num);
	if (called->family == AF_INET6)
		bpf_core_read(called->address, 16, &sock->__sk_common.skc_v6_rcv_saddr);
	else
		bpf_core_read(called->address, 4, &sock->__sk_common.skc_rcv_saddr);
}

/* The inode of a socket file is what the peer was bound to; abstract names and pairs have none. */
static __always_inline void fill_unix_peer(struct called_on_address *called, struct sock *sock)
{
	struct sock *peer = BPF_CORE_READ((struct unix_sock *)sock, peer);
	struct inode *inode = BPF_CORE_READ((struct unix_sock *)peer, path.dentry, d_inode);

	if (!inode)
		return;
	called->inode = BPF_CORE_READ(inode, i_ino);
	called->device = BPF_CORE_READ(inode, i_sb, s_dev);
}

/* Appends where that inode is, for whoever bound the socket: the caller may see it under any other name. */
static __always_inline void append_bound(struct scratch *scratch, struct called_on_address *called, struct sock *sock,
					 struct task_struct *task)
{
	struct unix_sock *peer = (void *)BPF_CORE_READ((struct unix_sock *)sock, peer);

	if (!called->inode)
		return;
	called->bound_length = append_path(scratch, &peer->path, 0);
	if (is_foreign(mount_of(BPF_CORE_READ(peer, path.mnt)), task))
		scratch->record.flags |= FLAG_FOREIGN;
}

/* Returns false where there is no address. */
static __always_inline bool fill_passed(struct called_on_address *called, u64 pointer, u32 size)
{
	struct sockaddr_storage passed = {};

	if (!pointer || size < sizeof(u16))
		return false;
	if (size > sizeof(passed))
		size = sizeof(passed);
	barrier_var(size);
	size &= 127;
	if (size > sizeof(passed) || bpf_probe_read_user(&passed, size, (void *)pointer))
		return false;
	called->family = passed.family;
	if (passed.family == AF_INET) {
		called->port = host_order(passed.v4.port);
		__builtin_memcpy(called->address, passed.v4.address, 4);
	} else if (passed.family == AF_INET6) {
		called->port = host_order(passed.v6.port);
		__builtin_memcpy(called->address, passed.v6.address, 16);
	} else if (passed.family == AF_UNIX) {
		called->path_length = size - sizeof(u16);
		__builtin_memcpy(called->path, passed.path, UNIX_PATH_BYTES);
	}
	return true;
}

static __always_inline bool is_inet(u16 family)
{
	return family == AF_INET || family == AF_INET6;
}

static __always_inline void fill_connected(struct scratch *scratch, struct called_on_address *called, struct sock *sock,
					   struct task_struct *task)
{
	u16 family = BPF_CORE_READ(sock, __sk_common.skc_family);

	if (is_inet(family)) {
		fill_peer(called, sock);
	} else if (family == AF_UNIX) {
		called->family = family;
		fill_unix_peer(called, sock);
		append_bound(scratch, called, sock, task);
	}
}

static __always_inline struct called_on_address *begin_address(struct scratch *scratch)
{
	struct called_on_address *called = (void *)(scratch->bytes + sizeof(struct record));

	clear_address(called);
	return called;
}

/* What follows the address: the beginning of a datagram to a name server. */
static __always_inline void append_datagram(struct scratch *scratch, struct called_on_address *called, u64 pointer)
{
	u32 size = called->size;

	if (called->port != DNS_PORT || !pointer)
		return;
	if (size > DATAGRAM_BYTES)
		size = DATAGRAM_BYTES;
	barrier_var(size);
	size &= 2 * DATAGRAM_BYTES - 1;
	if (bpf_probe_read_user(scratch->bytes + sizeof(struct record) + sizeof(*called), size, (void *)pointer))
		return;
	called->datagram_length = size;
	scratch->record.length += size;
}

static __always_inline bool is_socketcall(struct call *call)
{
	return call->compat && call->number == NR_socketcall_compat;
}

static __always_inline bool is_bind(struct call *call)
{
	if (is_socketcall(call))
		return argument(call, 0) == SYS_BIND;
	return call->number == (call->compat ? NR_bind_compat : NR_bind);
}

struct address_arguments { u32 descriptor, pointer, size; };

/* Of the 32-bit entry's call for all that sockets do: its arguments are in memory. False: another than these two. */
static __always_inline bool read_socketcall(struct call *call, struct address_arguments *passed)
{
	u64 what = argument(call, 0);

	return (what == SYS_BIND || what == SYS_CONNECT) &&
	       !bpf_probe_read_user(passed, sizeof(*passed), (void *)argument(call, 1));
}

/* connect, bind, sendto: the address is at `operand`, its size after it. */
SEC("tp_btf/sys_exit")
int BPF_PROG(handle_address, struct pt_regs *registers, long result)
{
	struct called_on_address *called;
	struct scratch *scratch;
	struct sock *sock;
	struct call call;
	u16 flags;
	struct address_arguments passed = {};
	bool told, sends;

	if (!begin_call(&call, registers, result))
		return 0;
	if (is_socketcall(&call) && !read_socketcall(&call, &passed)) {
		report_call(&call);
		return 0;
	}
	sends = call.policy->operand == 4;
	sock = sock_of(call.task, is_socketcall(&call) ? passed.descriptor : (u32)argument(&call, 0));
	if (sends && !argument(&call, 4) && host_order(BPF_CORE_READ(sock, __sk_common.skc_dport)) != DNS_PORT)
		return dull(&call);
	flags = kill_if(&call, false, false);
	scratch = begin_call_record(&call, RECORD_ADDRESS, flags, sizeof(*called));
	if (!scratch)
		return 0;
	called = begin_address(scratch);
	if (is_socketcall(&call))
		told = fill_passed(called, passed.pointer, passed.size);
	else
		told = fill_passed(called, argument(&call, call.policy->operand), argument(&call, call.policy->operand + 1));
	if (is_bind(&call)) {
		if (!is_inet(called->family))
			return 0;
	} else if (sends) {
		if (!told)
			fill_peer(called, sock);
		if (!is_inet(called->family))
			return 0;
		called->size = argument(&call, 2);
		append_datagram(scratch, called, argument(&call, 1));
	} else if (result == 0 || result == -EINPROGRESS) {
		fill_connected(scratch, called, sock, call.task);
	}
	submit(scratch, is_alert(&call, flags) || ALERTING_ERROR(result));
	return 0;
}

struct user_msghdr { u64 name; u32 name_size; u32 pad; u64 vectors; u64 vector_count; };
struct user_iovec { u64 base; u64 size; };

/* sendmsg, and the first message of sendmmsg. Messages of the 32-bit entry are laid out differently. */
SEC("tp_btf/sys_exit")
int BPF_PROG(handle_message, struct pt_regs *registers, long result)
{
	struct called_on_address *called;
	struct user_msghdr message = {};
	struct user_iovec vector = {};
	struct scratch *scratch;
	struct sock *sock;
	struct call call;
	u16 flags;

	if (!begin_call(&call, registers, result))
		return 0;
	if (call.compat) {
		report_call(&call);
		return 0;
	}
	bpf_probe_read_user(&message, sizeof(message), (void *)argument(&call, 1));
	sock = sock_of(call.task, (u32)argument(&call, 0));
	if (!message.name && host_order(BPF_CORE_READ(sock, __sk_common.skc_dport)) != DNS_PORT)
		return dull(&call);
	if (!is_inet(BPF_CORE_READ(sock, __sk_common.skc_family)))
		return dull(&call);
	flags = kill_if(&call, false, false);
	scratch = begin_call_record(&call, RECORD_ADDRESS, flags, sizeof(*called));
	if (!scratch)
		return 0;
	called = begin_address(scratch);
	if (!fill_passed(called, message.name, message.name_size))
		fill_peer(called, sock);
	bpf_probe_read_user(&vector, sizeof(vector), (void *)message.vectors);
	called->size = vector.size;
	append_datagram(scratch, called, vector.base);
	submit(scratch, is_alert(&call, flags) || ALERTING_ERROR(result));
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_listen, struct pt_regs *registers, long result)
{
	struct called_on_address *called;
	struct scratch *scratch;
	struct sock *sock;
	struct call call;
	u16 flags;

	if (!begin_call(&call, registers, result))
		return 0;
	sock = sock_of(call.task, (u32)argument(&call, 0));
	if (!is_inet(BPF_CORE_READ(sock, __sk_common.skc_family)))
		return dull(&call);
	flags = kill_if(&call, false, false);
	scratch = begin_call_record(&call, RECORD_ADDRESS, flags, sizeof(*called));
	if (!scratch)
		return 0;
	called = begin_address(scratch);
	fill_own(called, sock);
	submit(scratch, is_alert(&call, flags));
	return 0;
}

/* A connect that waits is seen before it returns, and so is one that no system call made. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_handshake, struct sock *sock, int old_state, int new_state)
{
	struct called_on_address *called;
	struct scratch *scratch;
	struct task_struct *task;
	struct tag *tag;

	if (new_state != TCP_SYN_SENT)	/* others come in interrupts, where the current task is anyone */
		return 0;
	task = bpf_get_current_task_btf();
	tag = tag_of(task);
	if (!is_inside(tag))
		return 0;
	scratch = begin_record(SLOT_EVENT, task, tag->sandbox, RECORD_ADDRESS);
	if (!scratch)
		return 0;
	scratch->record.call = CALL_TCP_CONNECT;
	scratch->record.result = -EINPROGRESS;
	scratch->record.length += sizeof(*called);
	called = begin_address(scratch);
	__builtin_memset(called->arguments, 0, sizeof(called->arguments));
	fill_peer(called, sock);
	submit(scratch, false);
	return 0;
}
