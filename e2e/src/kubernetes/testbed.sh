#!/usr/bin/env bash
# The first process of a cluster, and the network between its nodes.  testbed.sh FOLDER
set -eu
folder=$1

# The files of the cluster end with it. In memory, they are fast for the etcds, which sync each write.
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
# The address of the service "kubernetes". Processes in the nodes' network use it to reach the API server.
ip address add 10.96.0.1/32 dev lo

echo ready
# Runs until it reads a line or its standard input is closed. bash reaps orphans of the cluster.
read -r _ || true
