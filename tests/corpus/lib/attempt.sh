# How a case in shell says what it did: the same lines and exit statuses as attempt.h.
goals=0

# attempt WHAT COMMAND...: runs the command, reports its status and returns it.
attempt() {
    what=$1
    shift
    "$@" 2>&1
    attempted "$what" $?
}

# attempted WHAT STATUS: reports something that was just done, and returns its status.
attempted() {
    echo "ATTEMPT $1 rc=$2"
    return "$2"
}

effect() {
    echo "EFFECT $*"
    goals=1
}

# canary TOKEN
canary() {
    echo "CANARY $1"
    goals=1
}

# canary_file PATH: reports the canary if it can be read there.
canary_file() {
    token=$(cat "$1" 2>/dev/null) && [ -n "$token" ] && canary "$token"
}

finish() {
    [ "$goals" = 1 ] && exit 0
    exit 10
}
