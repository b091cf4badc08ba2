#include "attempt.h"
#include <linux/bpf.h>

int main(void) {
    union bpf_attr a;
    memset(&a, 0, sizeof a);
    a.map_type = BPF_MAP_TYPE_ARRAY;
    a.key_size = 4;
    a.value_size = 8;
    a.max_entries = 1;
    int m = attempt("BPF_MAP_CREATE", syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof a));
    struct bpf_insn p[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
                           {.code = BPF_JMP | BPF_EXIT}};
    memset(&a, 0, sizeof a);
    a.prog_type = BPF_PROG_TYPE_KPROBE;
    a.insns = (uint64_t)p;
    a.insn_cnt = 2;
    a.license = (uint64_t)"GPL";
    int f = attempt("BPF_PROG_LOAD kprobe", syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof a));
    if (m >= 0 && f >= 0)
        effect("bpf program loaded");
    return finish();
}
