#!/usr/bin/env bash
# Holds a cluster, and takes away what is left after its end.  guard.sh NAME FOLDER TESTBED
#
# The cluster is a process namespace of its own: everything in it ends with its first process, and with everything in it
# its mounts, network namespaces, bridges and interfaces go. That first process ends when its standard input does, so with
# the process that holds the other end, however that ends. What stays then is an empty folder, and empty control groups.
name=$1 folder=$2 testbed=$3

trap : HUP INT TERM
unshare --net --mount --uts --pid --fork --mount-proc --kill-child=KILL -- bash -c "$testbed" testbed "$folder"

for top in /sys/fs/cgroup/"$name" /sys/fs/cgroup/*/"$name"; do
  [ ! -d "$top" ] || find "$top" -depth -type d -exec rmdir {} +
done
rm -rf -- "$folder"
