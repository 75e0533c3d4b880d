#!/usr/bin/env bash
# Runs this package's tests with the address and undefined-behaviour sanitizers over the emulated driver and every
# kernel: memory that a kernel, a copy or a product touches must belong to a block that is allocated at that time.
set -euo pipefail
cd "$(dirname "$0")"
export EMULATED_CUDA_FLAGS="-g -fsanitize=address,undefined -fno-sanitize=alignment -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
# Node itself is not instrumented: its runtime must come first, and its own allocations are not checked for leaks.
# Fibers are stacks that the sanitizer does not know.
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 UBSAN_OPTIONS=print_stacktrace=1
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)" \
  node ../../node_modules/vitest/vitest.mjs run --root ../.. "${@:-packages/backend-cuda}"
