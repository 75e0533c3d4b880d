#!/usr/bin/env bash
# Runs this package's tests, or the command that is given, with the address and undefined-behavior sanitizers over the
# emulated driver and every kernel: memory that a kernel, a copy or a product touches must be allocated at that time.
set -euo pipefail
cd "$(dirname "$0")"
export EMULATED_CUDA_FLAGS="-fsanitize=address,undefined -fsanitize-recover=address -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
# Node itself is not instrumented: its runtime must come first, and its own allocations are not checked for leaks.
# Fibers are stacks that the sanitizer does not know.
export ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=0:${ASAN_OPTIONS:-}" UBSAN_OPTIONS=print_stacktrace=1
# NVIDIA's compilers do not bear a runtime in front of theirs, and lifetimes_test.ts brings its own.
if [ $# -eq 0 ]; then
  set -- node ../../node_modules/vitest/vitest.mjs run --root ../.. --testTimeout 600000 packages/backend-cuda \
    --exclude '**/compiler_test.ts' --exclude '**/lifetimes_test.ts'
fi
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)" exec "$@"
