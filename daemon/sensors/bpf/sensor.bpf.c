// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * The sensor's kernel side: one object, one subject a file. It needs Linux 5.11 with BTF, and no header of
 * that kernel. Rule for the verifiers of 6.1 and 6.12, which know less than later ones: barrier_var() and a
 * mask before a variable is used as offset or length.
 */
#include "kernel.h"
#include "sensor.h"
#include "maps.h"
#include "record.h"
#include "path.h"
#include "file.h"
#include "tag.h"
#include "lifecycle.h"
#include "seed.h"
#include "call.h"
#include "open.h"
#include "file_report.h"
#include "mode.h"
#include "memory.h"
#include "clone.h"
#include "process.h"
#include "touch.h"
#include "socket.h"
#include "ring.h"
#include "egress.h"
#include "dispatch.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
