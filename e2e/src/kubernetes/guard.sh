#!/usr/bin/env bash
# Holds a cluster and cleans up after its end.  guard.sh NAME FOLDER TESTBED
#
# The cluster is a process namespace. All its processes end with the first one, and with them its mounts, network
# namespaces, bridges and interfaces. The first process ends when its standard input is closed, so when the process at
# the other end ends, in whatever way. An empty folder and empty control groups are left.
name=$1 folder=$2 testbed=$3

trap : HUP INT TERM
unshare --net --mount --uts --pid --fork --mount-proc --kill-child=KILL -- bash -c "$testbed" testbed "$folder"

for top in /sys/fs/cgroup/"$name" /sys/fs/cgroup/*/"$name"; do
  [ ! -d "$top" ] || find "$top" -depth -type d -exec rmdir {} +
done
rm -rf -- "$folder"
