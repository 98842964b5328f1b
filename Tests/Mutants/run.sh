#!/bin/bash
# Breaks the engine on purpose, one way after another, and demands that the proofs notice: a proof that catches no
# mutant is no proof. Each *.patch here is one, with the tests that have to catch it in its last line of text.
#
#     Tests/Mutants/run.sh [NAME...]      exit 0: all were caught
set -euo pipefail
cd "$(dirname "$0")/../.."
tree=.build/mutants
names=("$@")
if [ $# = 0 ]; then
  for patch in Tests/Mutants/*.patch; do names+=("$(basename "$patch" .patch)"); done
fi

# The copy keeps its build between runs; a file that is the same keeps its time.
mkdir -p $tree/{Sources,Tests}
(cd $tree && find Sources Tests -type f) | while read -r file; do [ -e "$file" ] || rm "$tree/$file"; done
find Package.swift Sources Tests -type f | while read -r file; do
  cmp -s "$file" "$tree/$file" || install -D "$file" "$tree/$file"
done
log=$PWD/.build/mutants.log
: >"$log"

# Outside of any repository, git applies to the directory it is in.
apply() { (cd $tree && GIT_CEILING_DIRECTORIES=$(dirname "$PWD") git apply "$@"); }
tests_of() { sed -n 's/^Caught by: //p' "Tests/Mutants/$1.patch"; }
build() { (cd $tree && swift build --build-tests) >>"$log" 2>&1; }
passes() { # a mutant may also hang or trap
  (cd $tree && timeout 600 env SWIFT_BACKTRACE=enable=no swift test --skip-build --disable-xctest --filter "$1") >>"$log" 2>&1
}

echo "unbroken: building, and running $(for name in "${names[@]}"; do tests_of "$name"; done | sort -u | tr '\n' ' ')"
build
for tests in $(for name in "${names[@]}"; do tests_of "$name"; done | sort -u); do
  passes "$tests" || { echo "$tests fails on the unbroken engine; see $log"; exit 2; }
done

survivors=0
for name in "${names[@]}"; do
  patch=$PWD/Tests/Mutants/$name.patch
  apply "$patch"
  if ! build; then
    verdict="does not build"
  elif passes "$(tests_of "$name")"; then
    verdict="SURVIVED"
  else
    verdict="caught"
  fi
  apply -R "$patch"
  [ "$verdict" = caught ] || survivors=$((survivors + 1))
  printf '%-36s %-14s %s\n' "$name" "$verdict" "$(tests_of "$name")"
done
echo "$((${#names[@]} - survivors)) of ${#names[@]} mutants caught"
[ $survivors = 0 ]
