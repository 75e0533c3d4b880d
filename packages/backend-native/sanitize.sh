#!/usr/bin/env bash
# Builds the addon with the address and undefined-behaviour sanitizers and runs this package's tests with it.
set -euo pipefail
cd "$(dirname "$0")"
folder=build/sanitize
mkdir -p "$folder"
prefix="$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")"
flags="-std=c++17 -O1 -g -fPIC -fno-math-errno -fno-trapping-math -ffp-contract=fast -DNAPI_VERSION=8
  -DNODE_GYP_MODULE_NAME=native -I$prefix/include/node -Wno-psabi
  -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
compile() { g++ $flags "${@:2}" -c "src/$1.cc" -o "$folder/$1.o"; }
objects=(addon call thread_pool bindings_plain bindings_layout bindings_fused bindings_decode isa_portable)
if [[ "$(uname -m)" == x86_64 ]]; then
  compile isa_avx2 -mavx2 -mfma
  compile isa_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma
  files=("$folder/isa_avx2.o" "$folder/isa_avx512.o")
fi
for name in "${objects[@]}"; do
  compile "$name"
  files+=("$folder/$name.o")
done
g++ -shared -fsanitize=address,undefined "${files[@]}" -lpthread -ldl -o "$folder/native.node"

# Node itself is not instrumented: its runtime must come first, and its own allocations are not checked for leaks.
export RLHF_NATIVE_ADDON="$PWD/$folder/native.node"
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)" \
  node ../../node_modules/vitest/vitest.mjs run --root ../.. packages/backend-native "$@"
