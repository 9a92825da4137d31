#!/usr/bin/env bash
# Runs a server in tmux: its output and each analyst's findings in titled panes.
#
#   scripts/panes.sh WATCHTOWER [COMMAND...]   COMMAND runs in a window of its own
#
# Within tmux it opens a window of the session that is there, else a session
# `watchtower`. Window and session end with the server.
set -euo pipefail

watchtower=$(realpath "$1")
shift
here=$PWD
say() { printf 'start: %s\n' "$*"; }

own=true
[ -z "${TMUX:-}" ] || own=false
if $own && tmux has-session -t '=watchtower' 2>/dev/null; then
  printf "start: a tmux session 'watchtower' is already there: tmux attach -t watchtower\n" >&2
  exit 1
fi

# Files of this run, for its user alone: the ready file, and the environment, as
# a tmux server that was there before has one of its own.
umask 077
run=$(mktemp -d)
for name in $(compgen -e); do
  case $name in
    TERM | TMUX | TMUX_PANE | PWD | OLDPWD | SHLVL | COLUMNS | LINES | _) ;;
    *) declare -p "$name" ;;
  esac
done >"$run/environment"
# The window ends with the server; what it said last can be read before.
cat >"$run/serve" <<TEXT
trap "rm -rf '$run'" EXIT
trap exit HUP TERM
. '$run/environment'
cd $(printf '%q' "$here")
# Findings have panes of their own.
export RUST_LOG="\${RUST_LOG:-warn,watchtower=info,rtc_dtls::handshake::handshake_message_client_hello=error}"
# Long lines are clipped, not wrapped; what it failed with is shown whole.
printf '\033[?7l'
$(printf '%q' "$watchtower") serve --ready-file '$run/ready' 2> >(tee '$run/errors' >&2) \
  || { printf '\033[?7h\n'; cat '$run/errors'; echo 'The server failed; Enter closes.'; read -r _; }
windows=\$(tac '$run/windows')
rm -rf '$run'
for window in \$windows; do tmux kill-window -t "\$window"; done
TEXT
cat >"$run/beside" <<TEXT
. '$run/environment'
cd $(printf '%q' "$here")
exec "\$@"
TEXT

if $own; then
  tmux new-session -d -s watchtower -n server -x "$(tput cols)" -y "$(tput lines)" \
    bash -c "until [ -e '$run/windows' ]; do sleep 0.05; done; exec bash '$run/serve'"
  session='=watchtower:'
  tmux set-option -t "$session" mouse on
  tmux set-option -t "$session" status-style 'bg=colour235,fg=colour250'
  tmux set-option -t "$session" status-left '#[bold] Watchtower #[default] '
  tmux set-option -t "$session" status-left-length 20
  tmux set-option -t "$session" status-right ' %H:%M '
  window=$(tmux display-message -p -t "$session" '#{window_id}')
else
  session=$(tmux display-message -p -t "$TMUX_PANE" '#{session_id}'):
  window=$(tmux new-window -d -P -F '#{window_id}' -t "$session" -n watchtower \
    bash -c "until [ -e '$run/windows' ]; do sleep 0.05; done; exec bash '$run/serve'")
fi
tmux set-option -w -t "$window" pane-border-status top
tmux set-option -w -t "$window" pane-border-format '#{?pane_active,#[bold]#[fg=colour79],#[fg=colour250]} #{pane_title} '
tmux set-option -w -t "$window" pane-border-style fg=colour240
tmux set-option -w -t "$window" pane-active-border-style fg=colour79
tmux select-pane -t "$window" -T Server
printf '%s\n' "$window" >"$run/windows"

said() { sed -n "s/^$1=//p" "$run/ready"; }
is_there() { tmux list-panes -t "$window" >/dev/null 2>&1; }
for _ in $(seq 300); do
  [ ! -f "$run/ready" ] && is_there || break
  sleep 0.1
done
if [ -f "$run/ready" ]; then
  server=$(tmux display-message -p -t "$window" '#{pane_id}')
  tmux select-pane -t "$server" -T "Server · $(said http)/"
  logs=$(dirname "$(said log | sed -n 1p)")
  pane=$server
  while IFS= read -r analyst; do
    pane=$(tmux split-window -d -P -F '#{pane_id}' -t "$pane" \
      bash "$run/beside" "$watchtower" tail --logs "$logs" -- "$analyst") || break
    tmux select-pane -t "$pane" -T "$analyst"
    # Room for the next one.
    tmux select-layout -t "$window" tiled >/dev/null
  done < <(said analyst)
  if [ $# -gt 0 ]; then
    tmux new-window -d -P -F '#{window_id}' -t "$session" -n sample bash "$run/beside" "$@" >>"$run/windows"
  fi
fi
if $own; then
  exec tmux attach -t '=watchtower'
fi
tmux select-window -t "$window"
say "opened the window 'watchtower' of this tmux session; it closes with the server"
