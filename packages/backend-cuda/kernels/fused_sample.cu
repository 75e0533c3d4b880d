// A token of each row by inverting the cumulative distribution, a block of up to 32 warps a row. The cuts to the top-k
// tokens and to the top-p mass look for their threshold bit by bit instead of sorting.
#include "fused_common.cuh"

/// Bits of floats as whole numbers of the same order.
__device__ inline unsigned ordered(float z) {
  unsigned bits = __float_as_uint(z);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ inline float from_ordered(unsigned key) {
  return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

/// Softmax of a row before any cut.
struct Row {
  const float* logits;
  int vocab;
  float inverseTemperature, top;
  __device__ float scaled(int i) const { return logits[i] * inverseTemperature; }
  __device__ float weight(float z) const { return expf(z - top); }
};

/// The k-th highest key and, in `mass`, the sum of the weights of the k highest: the largest key that at least k reach.
__device__ inline unsigned top_k_threshold(const Row& row, int k, float& mass) {
  unsigned kept = 0;
  for (unsigned bit = 0x80000000u; bit > 0; bit >>= 1) {
    float count = 0.f;
    each_in_block(row.vocab, [&](int i) { count += ordered(row.scaled(i)) >= (kept | bit); });
    if (block_sum(count) >= k) kept |= bit;
  }
  float above = 0.f, weights = 0.f;
  each_in_block(row.vocab, [&](int i) {
    float z = row.scaled(i);
    if (ordered(z) <= kept) return;
    above += 1.f;
    weights += row.weight(z);
  });
  float ties = k - block_sum(above);
  mass = block_sum(weights) + ties * row.weight(from_ordered(kept));
  return kept;
}

/// The lowest key of the smallest set of likeliest tokens that holds `mass`: one above the largest key above which
/// there is still as much.
__device__ inline unsigned top_p_threshold(const Row& row, float mass) {
  unsigned full = 0;
  bool found = false;
  for (unsigned bit = 0x80000000u; bit > 0; bit >>= 1) {
    float above = 0.f;
    each_in_block(row.vocab, [&](int i) {
      float z = row.scaled(i);
      if (ordered(z) > (full | bit)) above += row.weight(z);
    });
    if (block_sum(above) >= mass) {
      full |= bit;
      found = true;
    }
  }
  return found ? full + 1 : 0;
}

/// ids and logProbs under softmax(logits/T) before any cut; topK = vocab and topP = 1 cut nothing.
extern "C" __global__ void __launch_bounds__(1024)
    fused_sample(const float* logits, const float* uniforms, int* ids, float* logProbs, int vocab,
                 float inverseTemperature, int topK, float topP) {
  __shared__ float shares[32];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  Row row{logits + static_cast<long long>(blockIdx.x) * vocab, vocab, inverseTemperature, 0.f};
  float highest = -INFINITY, sum = 0.f;
  each_in_block(vocab, [&](int i) { highest = fmaxf(highest, row.scaled(i)); });
  row.top = block_max(highest);
  each_in_block(vocab, [&](int i) { sum += row.weight(row.scaled(i)); });
  float total = block_sum(sum), mass = total;
  unsigned kept = 0;
  if (topK < vocab) kept = top_k_threshold(row, topK, mass);
  if (topP < 1.f) kept = max(kept, top_p_threshold(row, topP * mass));
  auto weight_at = [&](int i) {
    float z = row.scaled(i);
    return ordered(z) >= kept ? row.weight(z) : 0.f;
  };

  // Each warp sums a run of tokens; then one finds the run that holds the wanted share, and the token in it.
  int run = (vocab + warps - 1) / warps, begin = warp * run, end = min(vocab, begin + run);
  float share = 0.f;
  for (int i = begin + lane; i < end; i += 32) share += weight_at(i);
  share = warp_sum(share);
  if (lane == 0) shares[warp] = share;
  __syncthreads();
  if (warp > 0) return;
  float all = 0.f;
  for (int w = 0; w < warps; w++) all += shares[w];
  // The largest float below 1 that stays below 1 when multiplied with any sum and rounded.
  float wanted = all * fminf(uniforms[blockIdx.x], 1.f - 1.1920929e-7f), before = 0.f;
  int chosen = 0, last = 0;
  for (int w = 0; w < warps; w++)
    if (shares[w] > 0.f) last = w;
  while (chosen < last && before + shares[chosen] <= wanted) before += shares[chosen++];
  begin = chosen * run;
  end = min(vocab, begin + run);
  int id = -1, latest = begin;
  for (int first = begin; first < end && id < 0; first += 32) {
    float weight = first + lane < end ? weight_at(first + lane) : 0.f, upTo = weight;
    for (int distance = 1; distance < 32; distance *= 2) {
      float left = __shfl_up_sync(kEveryLane, upTo, distance);
      if (lane >= distance) upTo += left;
    }
    unsigned reach = __ballot_sync(kEveryLane, weight > 0.f && before + upTo > wanted);
    unsigned any = __ballot_sync(kEveryLane, weight > 0.f);
    if (any) latest = first + 31 - __clz(any);
    if (reach) id = first + __ffs(reach) - 1;
    before += __shfl_sync(kEveryLane, upTo, 31);
  }
  // Rounding can leave what is wanted just past the end of the run.
  if (id < 0) id = latest;
  if (lane > 0) return;
  ids[blockIdx.x] = id;
  logProbs[blockIdx.x] = row.scaled(id) - row.top - logf(total);
}
