// How the threads of a block run: as fibers, one after another, warp by warp, so that barriers and shuffles mean what
// they mean on a GPU. A barrier that not all threads reach is an error, not a hang. Every other launch runs its blocks,
// warps and threads from the last to the first: a kernel that relies on an order, for it lacks a barrier, shows.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>
#include "fiber.h"

struct dim3 {
  unsigned x, y, z;
};

namespace emulated {
enum class State { ready, at_block_barrier, at_warp_barrier, done };
struct Thread {
  Fiber fiber;
  State state = State::done;
};

static dim3 thread_index, block_index, block_size, grid_size;
static std::vector<Thread> threads;
/// The thread that runs.
static unsigned current;
static char* dynamic_shared;
/// Whether this launch runs from the last to the first.
static bool backwards;
static unsigned nth(unsigned i, unsigned count) { return backwards ? count - 1 - i : i; }
/// What went wrong in this launch; nullptr: nothing.
static const char* failure;
/// What a warp's threads show each other, twice: one may already write its next value while another still reads.
static uint64_t exchanged[2][1024];
static unsigned turn[1024];

static void wait_in(State state) {
  threads[current].state = state;
  threads[current].fiber.suspend();
}

/// Shows a value to the warp and waits until all of it has; answers with what the warp's threads showed.
template <class T>
static const uint64_t* exchange(unsigned mask, T value) {
  static_assert(sizeof(T) <= 8, "threads exchange at most 8 bytes");
  if (mask != 0xffffffffu) failure = "a shuffle or vote with a partial mask";
  const unsigned slot = turn[current]++ & 1;
  exchanged[slot][current] = 0;
  memcpy(&exchanged[slot][current], &value, sizeof(T));
  wait_in(State::at_warp_barrier);
  return exchanged[slot] + (current & ~31u);
}

template <class T>
static T shuffle(unsigned mask, T value, int source) {
  const uint64_t* shown = exchange(mask, value);
  if (source < 0 || source > 31 || (current & ~31u) + source >= threads.size()) return value;
  memcpy(&value, &shown[source], sizeof(T));
  return value;
}

static unsigned vote(unsigned mask, bool value) {
  const uint64_t* shown = exchange(mask, value);
  unsigned votes = 0;
  for (unsigned lane = 0; lane < 32 && (current & ~31u) + lane < threads.size(); lane++) {
    if (threads[(current & ~31u) + lane].state != State::done && shown[lane]) votes |= 1u << lane;
  }
  return votes;
}

/// Runs a warp until each of its threads waits for the block or is done.
static void run_warp(unsigned first, unsigned last) {
  while (!failure) {
    unsigned at_warp = 0, at_block = 0;
    for (unsigned lane = 0; lane < last - first; lane++) {
      const unsigned i = first + nth(lane, last - first);
      Thread& thread = threads[i];
      if (thread.state == State::ready) {
        current = i;
        thread_index = {i % block_size.x, i / block_size.x % block_size.y, i / block_size.x / block_size.y};
        thread.fiber.resume();
        if (thread.fiber.finished()) thread.state = State::done;
      }
      if (thread.state == State::at_warp_barrier) at_warp++;
      if (thread.state == State::at_block_barrier) at_block++;
    }
    if (at_warp == 0) return;
    if (at_block > 0) failure = "threads of one warp wait at different barriers";
    for (unsigned i = first; i < last; i++) {
      if (threads[i].state == State::at_warp_barrier) threads[i].state = State::ready;
    }
  }
}

static void run_block(void (*body)()) {
  for (Thread& thread : threads) {
    thread.fiber.start(body);
    thread.state = State::ready;
  }
  const unsigned count = threads.size();
  std::fill_n(turn, count, 0);
  while (!failure) {
    const unsigned warps = (count + 31) / 32;
    for (unsigned warp = 0; warp < warps; warp++) {
      const unsigned first = 32 * nth(warp, warps);
      run_warp(first, std::min(count, first + 32));
    }
    bool waiting = false;
    for (Thread& thread : threads) {
      if (thread.state != State::at_block_barrier) continue;
      thread.state = State::ready;
      waiting = true;
    }
    if (!waiting) return;
  }
}

/// A block whose kernel has no barriers needs no fibers.
static void run_plain_block(void (*body)()) {
  for (unsigned z = 0; z < block_size.z; z++) {
    for (unsigned y = 0; y < block_size.y; y++) {
      for (unsigned x = 0; x < block_size.x; x++) {
        thread_index = {nth(x, block_size.x), nth(y, block_size.y), nth(z, block_size.z)};
        body();
      }
    }
  }
}

/// A kernel as the driver knows it.
struct Kernel {
  const char* name;
  /// Answers with what went wrong, or nullptr.
  const char* (*run)(const unsigned* grid, const unsigned* block, unsigned shared, void** parameters);
  const size_t* parameter_sizes;
  int parameter_count;
};

static std::vector<Kernel>& kernels() {
  static std::vector<Kernel> all;
  return all;
}

static void** parameters;

template <auto kernel, class Signature>
struct Entry;
template <auto kernel, class... Parameters>
struct Entry<kernel, void (*)(Parameters...)> {
  static constexpr size_t sizes[sizeof...(Parameters) + 1] = {sizeof(Parameters)..., 0};

  template <size_t... index>
  static void call(std::index_sequence<index...>) {
    kernel(*static_cast<Parameters*>(parameters[index])...);
  }
  static void body() { call(std::index_sequence_for<Parameters...>{}); }

  static const char* run(const unsigned* grid, const unsigned* block, unsigned shared, void** given) {
    parameters = given;
    grid_size = {grid[0], grid[1], grid[2]};
    block_size = {block[0], block[1], block[2]};
    failure = nullptr;
    backwards = !backwards;
    if (has_barriers) threads.resize(block[0] * block[1] * block[2]);
    const size_t bytes = (shared / 128 + 1) * 128;
    dynamic_shared = static_cast<char*>(aligned_alloc(128, bytes));
    for (unsigned z = 0; z < grid[2]; z++) {
      for (unsigned y = 0; y < grid[1]; y++) {
        for (unsigned x = 0; x < grid[0] && !failure; x++) {
          block_index = {nth(x, grid[0]), nth(y, grid[1]), nth(z, grid[2])};
          memset(dynamic_shared, 0xff, bytes);
          if (has_barriers) run_block(body);
          else run_plain_block(body);
        }
      }
    }
    free(dynamic_shared);
    return failure;
  }
};

template <auto kernel>
static bool add(const char* name) {
  using It = Entry<kernel, decltype(kernel)>;
  kernels().push_back({name, It::run, It::sizes, int(sizeof(It::sizes) / sizeof(size_t)) - 1});
  return true;
}
}  // namespace emulated

/// For the driver: the kernels of this module.
extern "C" const emulated::Kernel* emulated_kernels(size_t* count) {
  *count = emulated::kernels().size();
  return emulated::kernels().data();
}
