// A pool of worker threads for data-parallel loops, and the scratch memory of its threads.
#pragma once
#include <cstddef>
#include <type_traits>

namespace rlhf {

/// Sets the number of threads that later loops use, the caller included, and whether they share even what one would
/// have done sooner, as tests want it. Call it outside any loop.
void set_threads(int count, bool shareAll);
int thread_count();

using Task = void (*)(void* context, int task, int thread);

/// Runs task(context, i, thread) for every i in [0, count), in any order, and returns when all are done.
/// Which thread gets which task is not determined, so a task must never depend on its thread. `cost` is about what
/// one thread would need for all, in nanoseconds: what is done sooner than others could help stays on this thread.
void run_tasks(int count, double cost, Task task, void* context);

/// `body(task, thread)` for every task in [0, count).
template <class Body>
inline void parallel(int count, double cost, Body&& body) {
  using Function = typename std::remove_reference<Body>::type;
  run_tasks(
      count, cost,
      [](void* context, int task, int thread) { (*static_cast<Function*>(context))(task, thread); },
      static_cast<void*>(&body));
}

/// `body(begin, end)` for the pieces of [0, size) of `chunk` each, some 16,000 elements: what a few instructions
/// for each of them cost.
template <class Body>
inline void parallel_chunks(size_t size, size_t chunk, Body&& body) {
  constexpr double kChunkCost = 4000;
  double cost = kChunkCost * static_cast<double>(size) / static_cast<double>(chunk);
  parallel(static_cast<int>((size + chunk - 1) / chunk), cost, [&](int task, int) {
    size_t begin = task * chunk, end = begin + chunk;
    body(begin, end < size ? end : size);
  });
}

/// What a piece of scratch memory is for. Pieces that live at the same time need different slots.
enum class Slot {
  packedA,
  packedB,
  panelB,
  scores,
  scoreGrads,
  keys,
  values,
  smallA,
  smallB,
  partials,
  logits,
  hidden,
  decode,
  count
};

/// Memory of one slot, a piece per thread; it is kept for later calls and never shrinks below the largest use.
struct Scratch {
  char* base;
  size_t stride;
  float* of(int thread) const { return reinterpret_cast<float*>(base + stride * thread); }
};

/// Reserve outside a parallel loop: it may throw std::bad_alloc, which must not leave a worker thread.
Scratch reserve_per_thread(Slot slot, size_t bytes);
float* reserve_shared(Slot slot, size_t bytes);

/// Gives all scratch memory back to the system.
void release_scratch();

}  // namespace rlhf
