#include "thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

namespace rlhf {
namespace {

constexpr int kMaxThreads = 256;
// Spinning this long (some 200 µs) before sleeping catches the next loop of the same kernel, and of the next one if it
// comes soon; longer would steal the core from whoever shares the machine.
constexpr int kSpins = 10000;
// Loops of less, in nanoseconds, are done before another core has seen them and its share has travelled there and
// back (half a microsecond for a word on a machine of two sockets), or before a thread that sleeps has woken.
constexpr double kWorthSharing = 20000;
constexpr double kWorthWaking = 50000;

inline void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// The state of the current loop in one word, so that a late worker cannot take a task of the next loop by mistake:
// generation (24 bits) | number of tasks (20 bits) | next task (20 bits).
constexpr int kTaskBits = 20;
constexpr uint64_t kTaskMask = (1u << kTaskBits) - 1;

struct Pool {
  std::atomic<uint64_t> state{0};
  std::atomic<int> finished{0};
  std::atomic<int> sleepers{0};
  Task task = nullptr;
  void* context = nullptr;
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<int> threads{1};  // a worker may look while it changes
  int workers = 0;
  bool shareAll = false;
};

// Never destroyed: the workers are detached and may still sleep on it while the process exits.
Pool& pool() {
  static Pool* instance = new Pool;
  return *instance;
}

// Which thread of the pool this is, and whether it is running a task: a loop inside a task runs in place.
thread_local int own_thread = 0;
thread_local bool inside_loop = false;

bool take_task(Pool& p, uint64_t generation, int& task) {
  uint64_t state = p.state.load(std::memory_order_acquire);
  for (;;) {
    if (state >> (2 * kTaskBits) != generation) return false;
    uint64_t next = state & kTaskMask;
    if (next >= ((state >> kTaskBits) & kTaskMask)) return false;
    if (p.state.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) {
      task = static_cast<int>(next);
      return true;
    }
  }
}

void run_share(Pool& p, uint64_t generation) {
  inside_loop = true;
  int task;
  while (take_task(p, generation, task)) {
    p.task(p.context, task, own_thread);
    p.finished.fetch_add(1, std::memory_order_acq_rel);
  }
  inside_loop = false;
}

uint64_t generation_of(Pool& p) { return p.state.load(std::memory_order_acquire) >> (2 * kTaskBits); }

void work(Pool& p, int thread) {
  own_thread = thread;
  for (;;) {
    uint64_t generation = generation_of(p);
    if (thread < p.threads) run_share(p, generation);
    for (int spins = 0; generation_of(p) == generation;) {
      if (++spins < kSpins) {
        pause_cpu();
        continue;
      }
      std::unique_lock<std::mutex> lock(p.mutex);
      p.sleepers.fetch_add(1);
      p.wake.wait(lock, [&] { return p.state.load() >> (2 * kTaskBits) != generation; });
      p.sleepers.fetch_sub(1);
    }
  }
}

void start_workers(Pool& p) {
  while (p.workers < p.threads - 1) {
    try {
      std::thread([&p, thread = p.workers + 1] { work(p, thread); }).detach();
    } catch (const std::system_error&) {
      p.threads = p.workers + 1;  // the system gives no more: these do all the work
      return;
    }
    p.workers++;
  }
}

struct Piece {
  char* data = nullptr;
  size_t bytes = 0;
};
Piece pieces[static_cast<int>(Slot::count)];

char* reserve(Slot slot, size_t bytes) {
  Piece& piece = pieces[static_cast<int>(slot)];
  if (!piece.data || piece.bytes < bytes) {
    std::free(piece.data);
    piece = {};
    size_t rounded = (bytes + 4096) & ~size_t(4095);
    piece.data = static_cast<char*>(std::aligned_alloc(4096, rounded));
    if (!piece.data) throw std::bad_alloc();
    piece.bytes = rounded;
  }
  return piece.data;
}

}  // namespace

void set_threads(int count, bool shareAll) {
  pool().threads = count < 1 ? 1 : count > kMaxThreads ? kMaxThreads : count;
  pool().shareAll = shareAll;
}

int thread_count() { return pool().threads; }

void run_tasks(int count, double cost, Task task, void* context) {
  Pool& p = pool();
  bool asleep = p.sleepers.load(std::memory_order_relaxed) > 0;
  double least = p.shareAll ? 0 : asleep ? kWorthWaking : kWorthSharing;
  if (count <= 1 || p.threads == 1 || inside_loop || cost < least) {
    for (int i = 0; i < count; i++) task(context, i, own_thread);
    return;
  }
  start_workers(p);
  // More tasks than the state word can count run in several loops.
  while (count > static_cast<int>(kTaskMask)) {
    struct Shifted {
      Task task;
      void* context;
      int offset;
    } shifted{task, context, count - static_cast<int>(kTaskMask)};
    run_tasks(
        static_cast<int>(kTaskMask), cost,
        [](void* c, int i, int thread) {
          auto& s = *static_cast<Shifted*>(c);
          s.task(s.context, i + s.offset, thread);
        },
        &shifted);
    count -= static_cast<int>(kTaskMask);
  }
  p.task = task;
  p.context = context;
  p.finished.store(0, std::memory_order_relaxed);
  uint64_t generation = (generation_of(p) + 1) & 0xFFFFFF;
  p.state.store(generation << (2 * kTaskBits) | static_cast<uint64_t>(count) << kTaskBits);
  if (p.sleepers.load() > 0) {
    {
      std::lock_guard<std::mutex> lock(p.mutex);
    }
    p.wake.notify_all();
  }
  run_share(p, generation);
  while (p.finished.load(std::memory_order_acquire) < count) pause_cpu();
}

Scratch reserve_per_thread(Slot slot, size_t bytes) {
  size_t stride = (bytes + 127) & ~size_t(127);
  return {reserve(slot, stride * thread_count()), stride};
}

float* reserve_shared(Slot slot, size_t bytes) { return reinterpret_cast<float*>(reserve(slot, bytes)); }

void release_scratch() {
  for (Piece& piece : pieces) {
    std::free(piece.data);
    piece = {};
  }
}

}  // namespace rlhf
