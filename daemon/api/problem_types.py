"""Every type of problem that the API answers with. Names and statuses are stable: clients branch on them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemType:
    """`name` is the end of the problem's `type`; `remedy` is for its reader, in the reference."""

    name: str
    status: int
    title: str
    remedy: str


CONNECTION_LOST = ProblemType("connection-lost", 400, "connection lost", "ask again on a new connection")
INVALID_QUERY = ProblemType("invalid-query", 400, "invalid query", "correct the parameter that it names")
INVALID_HEADER = ProblemType("invalid-header", 400, "invalid header", "correct the header that it names")
NOT_A_WEBSOCKET = ProblemType(
    "not-a-websocket", 400, "not a WebSocket", "connect with the WebSocket protocol"
)
PATH_REFUSED = ProblemType(
    "path-refused", 400, "path refused", "name a path below the workspace that leads over no link"
)
FILE_REFUSED = ProblemType("file-refused", 400, "file refused", "send what the detail says is expected")
BAD_REQUEST = ProblemType("bad-request", 400, "bad request", "speak HTTP/1.1 as this reference has it")

CALLER_UNKNOWN = ProblemType(
    "caller-unknown", 403, "caller unknown", "have the administrator name your user or group in `callers`"
)
PROFILE_NOT_PERMITTED = ProblemType(
    "profile-not-permitted", 403, "profile not permitted", "choose one of the profiles that the detail names"
)
ADMINISTRATORS_ONLY = ProblemType(
    "administrators-only", 403, "administrators only", "ask as one whose rule has `administrator = true`"
)
NOT_PERMITTED = ProblemType("not-permitted", 403, "not permitted", "ask for what the profile permits")
EXECUTION_BLOCKED = ProblemType(
    "execution-blocked", 403, "execution blocked", "change what `reasons` names; `report` has the remedies"
)

NOT_FOUND = ProblemType(
    "not-found", 404, "not found", "check the name; what is not yours is not found either"
)
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed", 405, "method not allowed", "use a method that the header Allow names"
)

SANDBOX_ENDED = ProblemType("sandbox-ended", 409, "sandbox ended", "fetch its result, or launch another")
WRONG_STATE = ProblemType("wrong-state", 409, "wrong state", "pause it or resume it first")
NOT_INTERACTIVE = ProblemType("not-interactive", 409, "not interactive", "launch it with `interactive: true`")
KEY_REUSED = ProblemType("key-reused", 409, "key reused", "use a new Idempotency-Key for a new request")
ATTESTATION_FAILED = ProblemType(
    "attestation-failed", 409, "attestation failed", "an administrator should look: the engine did not obey"
)
ENGINE_REFUSED = ProblemType(
    "engine-refused", 409, "the engine refused", "the detail has the engine's reason"
)

TOO_LARGE = ProblemType("too-large", 413, "too large", "send less, or in parts")
NOT_JSON = ProblemType("not-json", 415, "not JSON", "send the body as application/json")
INVALID_REQUEST = ProblemType("invalid-request", 422, "invalid request", "correct what `reasons` names")
IMAGE_NOT_FOUND = ProblemType("image-not-found", 422, "image not found", "bring the image onto this host")
QUOTA_EXCEEDED = ProblemType(
    "quota-exceeded", 429, "quota exceeded", "end a sandbox, or wait as long as Retry-After says"
)

INTERNAL = ProblemType("internal", 500, "internal error", "read the daemon's log, and report it")
CONFINEMENT_UNAVAILABLE = ProblemType(
    "confinement-unavailable", 503, "cannot be confined", "mend what the detail names; `doctor` says more"
)
ENGINE_UNAVAILABLE = ProblemType(
    "engine-unavailable", 503, "engine unavailable", "start the engine, then ask again"
)
AUDIT_UNAVAILABLE = ProblemType(
    "audit-unavailable", 503, "nothing can be recorded", "free space or mend the disk of the audit log"
)
STOPPING = ProblemType("stopping", 503, "the daemon is stopping", "ask again once it is back")
WORKSPACE_FULL = ProblemType(
    "workspace-full", 507, "workspace full", "remove files, or launch with a larger workspace_size"
)

ALL = tuple(value for value in globals().values() if isinstance(value, ProblemType))

# Of routes that are alike.
OF_ANY_CALLER = (CONNECTION_LOST, CALLER_UNKNOWN)
OF_ONE_SANDBOX = (*OF_ANY_CALLER, NOT_FOUND)
OF_BODIES = (NOT_JSON, INVALID_REQUEST, TOO_LARGE)
