#!/usr/bin/env bash
# Runs a program until it ends or the test's process does.  guard.sh FOLDER LOG PROGRAM ARGUMENT...
#
# The test's process holds the other end of standard input. When that is closed without a signal to the program, the
# test has ended, in whatever way. Then the program is killed, and its folder is removed.
folder=$1 log=$2
shift 2

# Without job control, a background command would read from /dev/null.
exec 3<&0
"$@" </dev/null >>"$log" 2>&1 3<&- &
program=$!
echo "$program"
read -r _ <&3 >/dev/null &
test=$!

wait -n -p ended "$program" "$test"
status=$?
if [ "$ended" = "$test" ]; then
  kill -KILL "$program"
  wait "$program"
  rm -rf -- "$folder"
else
  kill "$test"
fi
exit "$status"
