#!/usr/bin/env bash
# flatcow on a chain of three images: mount, read, write, stream, complete, unmount, prove. It makes its own images in a
# directory of its own, and takes them away again. Needs the programs of `make deps` and a flatcow in PATH.
set -euo pipefail

directory=$(mktemp -d)
mountpoint=$directory/mnt
cleanup() {
  if mountpoint -q "$mountpoint"; then flatcow umount --lazy "$mountpoint"; fi
  rm -rf "$directory"
}
trap cleanup EXIT
PATH=$PATH:/usr/sbin:/sbin
cd "$directory"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*" && "$@"; }

say "A base with a file system in it, and two overlays"
mkdir files mnt
head -c 24M /dev/urandom >files/data
run mkfs.ext4 -q -d files base.raw 64M
run flatcow create mid.qcow2 -b base.raw -F raw
run flatcow create top.qcow2 -b mid.qcow2 -F qcow2
run qemu-io -c 'write -P 0x6d 40M 16M' mid.qcow2
run qemu-io -c 'write -P 0x74 48M 1M' top.qcow2
run flatcow chain top.qcow2
qemu-img convert -O raw top.qcow2 expected.raw

say "One flat raw file, while the layer between streams into the top; base.raw stays"
run flatcow mount -o base=base.raw,speed=8M top.qcow2 mnt
run ls -l mnt mnt/stream
run cmp mnt/disk expected.raw
printf '$ printf flatcow | dd of=mnt/disk conv=notrunc,fsync seek=4096\n'
printf flatcow | dd of=mnt/disk conv=notrunc,fsync seek=4096 status=none
printf flatcow | dd of=expected.raw conv=notrunc seek=4096 status=none
run flatcow status mnt
run flatcow status --watch mnt

say "Completion: the string is recorded, and mid.qcow2 is let go; only then may it be deleted"
run flatcow finish mnt base.raw
run cat mnt/control
run rm mid.qcow2
run flatcow chain -o lock=off top.qcow2
run flatcow umount mnt

say "The proof"
run qemu-img check top.qcow2
run qemu-img compare top.qcow2 expected.raw

say "Now without a base, by hand: an empty line flattens the whole chain"
run flatcow mount top.qcow2 mnt
printf '$ echo > mnt/control\n'
echo >mnt/control
run cat mnt/stream/state
run rm base.raw
run flatcow umount mnt
run qemu-img info top.qcow2
run qemu-img compare top.qcow2 expected.raw
