/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Where a sandbox may connect to: denied before a packet leaves. Attached to the root of cgroup v2, where all
 * tasks are even under a cgroup v1 engine, and keyed by the network namespace, whose cookie is never reused.
 * io_uring goes through here as well. Loopback is the sandbox's own.
 */
#pragma once

struct bpf_sock_addr {			/* <linux/bpf.h>: an interface of its own, not relocated */
	u32 user_family;
	u32 user_ip4;			/* network byte order */
	u32 user_ip6[4];
	u32 user_port;
	u32 family;
	u32 type;
	u32 protocol;
	u32 msg_src_ip4;
	u32 msg_src_ip6[4];
};

struct {			/* namespaces with a policy, and whose they are */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u64);
} confined SEC(".maps");

struct {			/* what they may reach: cookie and address, IPv4 as IPv4-mapped */
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct network);
	__type(value, struct ports);
} networks SEC(".maps");

struct bpf_sock {			/* <linux/bpf.h>, as far as it is read here */
	u32 bound_dev_if;
	u32 family;
	u32 type;
	u32 protocol;
};

#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define ALLOW 1
#define DENY 0
#define CALL_EGRESS 0xfffffffe

static __always_inline bool is_loopback(struct network *network)
{
	u32 *words = (u32 *)network->address;

	if (words[0] || words[1])
		return false;
	if (!words[2])
		return words[3] == __builtin_bswap32(1);
	return words[2] == __builtin_bswap32(0xffff) && network->address[12] == 127;
}

static __always_inline void report_denied(struct bpf_sock_addr *context, struct network *network, u64 sandbox)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct scratch *scratch = begin_record(SLOT_EGRESS, task, sandbox, RECORD_ADDRESS);
	struct called_on_address *called;

	if (!scratch)
		return;
	scratch->record.call = CALL_EGRESS;
	scratch->record.result = -EPERM;
	scratch->record.length += sizeof(*called);
	called = begin_address(scratch);
	__builtin_memset(called->arguments, 0, sizeof(called->arguments));
	called->family = AF_INET6;
	called->port = host_order(context->user_port);
	__builtin_memcpy(called->address, network->address, sizeof(called->address));
	submit(scratch, true);
}

static __always_inline bool has_port(struct ports *ports, u16 port)
{
	u32 i;

#pragma unroll
	for (i = 0; i < PORT_RANGES; i++)
		if (ports->last[i] && port >= ports->first[i] && port <= ports->last[i])
			return true;
	return false;
}

static __always_inline int judge_address(struct bpf_sock_addr *context, struct network *network)
{
	struct ports *ports;
	u64 *sandbox;

	network->cookie = bpf_get_netns_cookie(context);
	sandbox = bpf_map_lookup_elem(&confined, &network->cookie);
	if (!sandbox || is_loopback(network))
		return ALLOW;
	network->prefix = 8 * (sizeof(network->cookie) + sizeof(network->address));
	ports = bpf_map_lookup_elem(&networks, network);
	if (ports && has_port(ports, host_order(context->user_port)))
		return ALLOW;
	report_denied(context, network, *sandbox);
	return DENY;
}

static __always_inline int judge_v4(struct bpf_sock_addr *context)
{
	struct network network = {};
	u32 *words = (u32 *)network.address;

	words[2] = __builtin_bswap32(0xffff);
	words[3] = context->user_ip4;
	return judge_address(context, &network);
}

static __always_inline int judge_v6(struct bpf_sock_addr *context)
{
	struct network network = {};
	u32 *words = (u32 *)network.address;

	words[0] = context->user_ip6[0];
	words[1] = context->user_ip6[1];
	words[2] = context->user_ip6[2];
	words[3] = context->user_ip6[3];
	return judge_address(context, &network);
}

SEC("cgroup/connect4")
int on_connect4(struct bpf_sock_addr *context)
{
	return judge_v4(context);
}

SEC("cgroup/connect6")
int on_connect6(struct bpf_sock_addr *context)
{
	return judge_v6(context);
}

SEC("cgroup/sendmsg4")
int on_sendmsg4(struct bpf_sock_addr *context)
{
	return judge_v4(context);
}

SEC("cgroup/sendmsg6")
int on_sendmsg6(struct bpf_sock_addr *context)
{
	return judge_v6(context);
}

/* Ping, MPTCP and the like send without passing the hooks above: a confined sandbox has TCP and UDP. */
SEC("cgroup/sock_create")
int on_socket(struct bpf_sock *context)
{
	u64 cookie;

	if (context->family != AF_INET && context->family != AF_INET6)
		return ALLOW;
	if (context->protocol == IPPROTO_TCP || context->protocol == IPPROTO_UDP)
		return ALLOW;
	cookie = bpf_get_netns_cookie(context);
	return bpf_map_lookup_elem(&confined, &cookie) ? DENY : ALLOW;
}
