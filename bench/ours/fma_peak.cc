// The most multiply-adds a second that the processor does: long chains in registers, on every thread at once.
// Answers as the other programs here do: a line when it is ready, then one for every line it is sent.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int kWidth = 16;
#elif defined(__AVX__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif
typedef float Vec __attribute__((vector_size(kWidth * 4)));

constexpr int kChains = 12;  // more than latency times throughput, fewer than registers
constexpr long kSteps = 20'000'000;

static void work(float* result) {
  Vec sums[kChains], factor = Vec{} + 0.999f, term = Vec{} + 0.001f;
#pragma GCC unroll 12
  for (int i = 0; i < kChains; i++) sums[i] = Vec{} + float(i);
  for (long step = 0; step < kSteps; step++) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; i++) sums[i] = sums[i] * factor + term;
  }
  float total = 0;
  for (int i = 0; i < kChains; i++) total += sums[i][0];
  *result = total;
}

int main(int, char** arguments) {
  int count = std::atoi(arguments[1]);
  std::puts("{\"name\": \"multiply-adds in registers\"}");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
    std::vector<float> results(count);
    std::vector<std::thread> threads;
    auto start = std::chrono::steady_clock::now();
    for (float& result : results) threads.emplace_back(work, &result);
    for (std::thread& thread : threads) thread.join();
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    double flops = 2.0 * kWidth * kChains * kSteps * count;
    std::printf("{\"seconds\": %g, \"parts\": {\"flopsPerSecond\": %g}}\n", seconds, flops / seconds);
    std::fflush(stdout);
  }
}
