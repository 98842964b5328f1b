#!/usr/bin/env bash
# Measures reads and writes on a mounted disk with fio, past the mount's page cache: a chain of three images and a flat
# one under flatcow, and forwarding-server (a raw file and nothing else) as the ceiling. Needs both in PATH.
set -euo pipefail

directory=$(mktemp -d)
cleanup() {
  for mounted in "$directory"/mnt-*; do
    if mountpoint -q "$mounted"; then umount --lazy "$mounted"; fi
  done
  rm -rf "$directory"
}
trap cleanup EXIT
cd "$directory"
mkdir mnt-chain mnt-flat mnt-raw

size=512M
head -c "$size" /dev/urandom >base.raw
cp base.raw raw
qemu-img convert -O qcow2 base.raw flat.qcow2
flatcow create mid.qcow2 -b base.raw -F raw
flatcow create top.qcow2 -b mid.qcow2 -F qcow2

flatcow mount -o stream=off top.qcow2 mnt-chain >/dev/null
flatcow mount -o stream=off flat.qcow2 mnt-flat >/dev/null
forwarding-server raw mnt-raw &
until mountpoint -q mnt-raw; do sleep 0.1; done

# fio's terse output, version 3: fields 7 and 8 are KiB/s and operations/s of reads, 48 and 49 those of writes.
measure() {
  local disk=$1 name=$2
  shift 2
  fio --minimal --terse-version=3 --name="$name" --filename="$disk" --size="$size" --direct=1 --ioengine=libaio \
    --runtime=5 --time_based "$@" | awk -F';' '{ printf " %9d/s %6d MiB/s", $8 + $49, ($7 + $48) / 1024 }'
}

printf '%-12s %30s %30s %30s %30s\n' '' '4K reads, 1 at a time' '4K reads, 32 at a time' '1M reads, 4 at a time' '4K writes, 32 at a time'
for mounted in raw flat chain; do
  printf '%-12s' "$mounted"
  measure "mnt-$mounted/disk" single --rw=randread --bs=4k --iodepth=1
  measure "mnt-$mounted/disk" deep --rw=randread --bs=4k --iodepth=32
  measure "mnt-$mounted/disk" large --rw=read --bs=1M --iodepth=4
  measure "mnt-$mounted/disk" write --rw=randwrite --bs=4k --iodepth=32
  printf '\n'
done
