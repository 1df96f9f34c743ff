#!/usr/bin/env bash
# The first process of a node.  node.sh NAME FOLDER
#
# A machine with the host's programs and with files of its own: all that is written below /etc, /opt, /var/lib, /var/log
# and /run stays in the node, so that ordinary paths can be used and the host is left alone.
set -eu
name=$1 folder=$2

hostname "$name"
for tree in etc opt var/lib var/log; do
  mkdir -p "$folder/$tree/upper" "$folder/$tree/work"
  mount -t overlay -o "lowerdir=/$tree,upperdir=$folder/$tree/upper,workdir=$folder/$tree/work" "$name" "/$tree"
done
# The host's own plugins and configs are none of the node's; and an overlay can't lie on an overlay.
for own in etc/cni opt/cni var/lib/cni var/lib/kube-ipam var/lib/kubelet var/lib/containerd var/log/pods; do
  mkdir -p "$folder/own/$own" "/$own"
  mount --bind "$folder/own/$own" "/$own"
done
mkdir -p /etc/cni/net.d /opt/cni/bin
mount -t tmpfs -o mode=0755 "$name" /run
mkdir -p /run/netns /run/lock
# Names in shared memory go by process ids, which each node counts by itself.
mount -t tmpfs "$name" /dev/shm

# Each boot of each node has an identity of its own, as on machines of their own.
cat /proc/sys/kernel/random/uuid >"$folder/boot_id"
mount --bind "$folder/boot_id" /proc/sys/kernel/random/boot_id

# As systemd has it: what is mounted later, as the namespaces of pods are, containers see too. All mounts, since containerd
# goes by the list of them, in which the hidden ones stand as well.
mount --make-rshared /

ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward

echo ready
# Until it is killed. Orphans, as the shims are, are reaped meanwhile: bash does.
while :; do sleep infinity & wait; done
