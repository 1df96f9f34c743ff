#!/usr/bin/env bash
# The first process of a cluster, and the network between its nodes.  testbed.sh FOLDER
set -eu
folder=$1

# Files of the cluster: gone with it, and fast for the etcds, which sync each write.
mount -t tmpfs -o mode=0755 kube-ipam "$folder"
mount -t tmpfs -o mode=0755 kube-ipam /run
mkdir /run/netns
hostname control-plane

ip link set lo up
for segment in mgmt web db; do
  ip link add "$segment" type bridge
  ip link set "$segment" up
done
ip address add 192.168.250.1/24 dev mgmt
# The address of the service "kubernetes": what runs in the nodes' own network finds the API server as in any cluster.
ip address add 10.96.0.1/32 dev lo

echo ready
# Until a line comes, or the end. Orphans of the cluster are reaped meanwhile: bash does.
read -r _ || true
