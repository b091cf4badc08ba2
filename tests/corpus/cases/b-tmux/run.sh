#!/bin/sh
set -e
export TERM=xterm SHELL=/bin/sh TMUX_TMPDIR="$HOME"
tmux -f /dev/null new-session -d -s a -x 80 -y 24 /bin/sh
tmux send-keys -t a 'echo in-$((6*7))' Enter
sleep 1
tmux capture-pane -p -t a | grep in-42
tmux kill-server
