#!/usr/bin/env bash
# The first process of a node.  node.sh NAME FOLDER
#
# A machine with the host's programs and its own files. Everything written below /etc, /opt, /var/lib, /var/log and
# /run stays in the node, so the usual paths work and the host is not changed.
set -eu
name=$1 folder=$2

hostname "$name"
for tree in etc opt var/lib var/log; do
  mkdir -p "$folder/$tree/upper" "$folder/$tree/work"
  mount -t overlay -o "lowerdir=/$tree,upperdir=$folder/$tree/upper,workdir=$folder/$tree/work" "$name" "/$tree"
done
# A node must not have the host's plugins and configs. An overlay can't be mounted on an overlay, either.
for own in etc/cni opt/cni var/lib/cni var/lib/kube-ipam var/lib/kubelet var/lib/containerd var/log/pods; do
  mkdir -p "$folder/own/$own" "/$own"
  mount --bind "$folder/own/$own" "/$own"
done
mkdir -p /etc/cni/net.d /opt/cni/bin
mount -t tmpfs -o mode=0755 "$name" /run
mkdir -p /run/netns /run/lock
# Names in shared memory include process ids, which may be the same on two nodes.
mount -t tmpfs "$name" /dev/shm

# Each boot of each node has its own id, as on separate machines.
cat /proc/sys/kernel/random/uuid >"$folder/boot_id"
mount --bind "$folder/boot_id" /proc/sys/kernel/random/boot_id

# Like systemd, so that containers see later mounts, such as the namespaces of pods. This includes all mounts, because
# containerd reads the list of mounts, which has the hidden ones too.
mount --make-rshared /

ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward

echo ready
# Runs until it is killed. bash reaps orphans, such as the shims.
while :; do sleep infinity & wait; done
