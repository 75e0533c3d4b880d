// Decoding: what is not a norm or a product. Keys and values of a sequence lie by head, [slot, kvHead, position,
// headDim], so that a block reads one run of memory; as float32, or as bf16 where products round as well, which halves
// what decoding in large batches is bound by.
#include "fused_common.cuh"

__device__ inline void put(float* to, float value) { *to = value; }
__device__ inline void put(bf16* to, float value) { *to = to_bf16(value); }

template <int V>
__device__ inline Floats<V> load_cached(const float* from) {
  return load_floats<V>(from);
}
template <int V>
__device__ inline Floats<V> load_cached(const bf16* from) {
  return load_rounded<V>(from);
}

/// x[row] = tokens[ids[row]] + positions[places[row]], a block a row; positionTable may be null.
extern "C" __global__ void fused_decode_embed(const float* tokenTable, const float* positionTable, const int* ids,
                                              const int* positions, float* x, int width) {
  int row = blockIdx.x;
  const float* token = tokenTable + static_cast<long long>(ids[row]) * width;
  const float* position = positionTable ? positionTable + static_cast<long long>(positions[row]) * width : nullptr;
  each_in_block(width, [&](int j) {
    x[static_cast<long long>(row) * width + j] = token[j] + (position ? position[j] : 0.f);
  });
}

/// Rotates the queries in place and writes the rotated keys and the values into the cache; theta 0: no rotation. A
/// thread a pair (i, i + headDim/2) of a head of a row, or, of odd heads, the last element with no partner.
template <class T>
__device__ inline void write_to_cache(Stored qkv, const int* slots, const int* positions, T* keys, T* values, int rows,
                                      int heads, int kvHeads, int headDim, int length, float theta) {
  int half = (headDim + 1) / 2, parts = heads + 2 * kvHeads, index = blockIdx.x * blockDim.x + threadIdx.x;
  int i = index % half, part = index / half % parts, row = index / half / parts;
  if (row >= rows || (part < heads && theta == 0.f)) return;
  int j = i + half, position = positions[row];
  bool both = j < headDim;
  long long from = (static_cast<long long>(row) * parts + part) * headDim;
  float a = load_stored<1>(qkv, from + i).at[0], b = both ? load_stored<1>(qkv, from + j).at[0] : 0.f;
  if (theta != 0.f && part < heads + kvHeads) {
    float sine, cosine, x = a;
    sincosf(position * static_cast<float>(pow(static_cast<double>(theta), -2.0 * i / headDim)), &sine, &cosine);
    a = x * cosine - b * sine;
    b = b * cosine + x * sine;
  }
  if (part < heads) {
    store_stored<1>(qkv, from + i, {a});
    if (both) store_stored<1>(qkv, from + j, {b});
    return;
  }
  T* to = (part < heads + kvHeads ? keys : values) +
          ((static_cast<long long>(slots[row]) * kvHeads + (part - heads) % kvHeads) * length + position) * headDim;
  put(to + i, a);
  if (both) put(to + j, b);
}

constexpr int kTeam = 8, kTeams = 32;

/// Attention of one head of a row to a split of its context: grid rows × heads × splits, 256 threads as 32 teams of 8
/// lanes. A team takes every 32nd position, its lanes every eighth run of V elements of the head; D: headDim rounded up.
/// Each split leaves its unnormalised mixture [D], the highest score and the sum of weights, in base 2; where there is
/// but one split, the attention itself.
template <int D, int V, class T>
__device__ inline void attend_to_cache(Stored qkv, const int* slots, const int* positions, const T* keys,
                                       const T* values, Stored y, float* partials, int heads, int kvHeads,
                                       int headDim, int length, int splitSize, float scale) {
  constexpr int K = (D + kTeam * V - 1) / (kTeam * V);
  __shared__ float mixtures[kTeams][D + 1];
  __shared__ float tops[kTeams], sums[kTeams];
  int row = blockIdx.x, head = blockIdx.y, split = blockIdx.z, lane = threadIdx.x % kTeam;
  int team = threadIdx.x / kTeam, count = positions[row] + 1;
  int begin = split * splitSize, end = min(count, begin + splitSize);
  float* partial = partials + ((static_cast<long long>(row) * heads + head) * gridDim.z + split) * (D + 2);
  if (begin >= end) {
    if (threadIdx.x == 0) partial[D + 1] = 0.f;
    return;
  }
  long long query = (static_cast<long long>(row) * (heads + 2 * kvHeads) + head) * headDim;
  long long base = (static_cast<long long>(slots[row]) * kvHeads + head / (heads / kvHeads)) * length * headDim;
  Floats<V> q[K]{}, mixture[K]{};
#pragma unroll
  for (int k = 0; k < K; k++) {
    int j = (lane + k * kTeam) * V;
    if (j < headDim) q[k] = load_stored<V>(qkv, query + j);
  }
  float top = -INFINITY, sum = 0.f;
  for (int first = begin; first < end; first += kTeams) {
    int position = first + team;
    bool inside = position < end;
    const T* key = keys + base + static_cast<long long>(inside ? position : begin) * headDim;
    const T* value = values + (key - keys);
    Floats<V> v[K]{};
    float score = 0.f;
#pragma unroll
    for (int k = 0; k < K; k++) {
      int j = (lane + k * kTeam) * V;
      if (j >= headDim) continue;
      Floats<V> x = load_cached<V>(key + j);
      v[k] = load_cached<V>(value + j);
      for (int e = 0; e < V; e++) score += q[k].at[e] * x.at[e];
    }
    for (int distance = kTeam / 2; distance > 0; distance /= 2)
      score += __shfl_xor_sync(kEveryLane, score, distance);
    if (!inside) continue;
    score *= scale;
    float newTop = fmaxf(top, score), shrink = exp2f(top - newTop), weight = exp2f(score - newTop);
    sum = sum * shrink + weight;
    top = newTop;
#pragma unroll
    for (int k = 0; k < K; k++)
      for (int e = 0; e < V; e++) mixture[k].at[e] = mixture[k].at[e] * shrink + weight * v[k].at[e];
  }
#pragma unroll
  for (int k = 0; k < K; k++)
    for (int e = 0; e < V; e++) {
      int j = (lane + k * kTeam) * V + e;
      if (j < D) mixtures[team][j] = mixture[k].at[e];
    }
  if (lane == 0) {
    tops[team] = top;
    sums[team] = sum;
  }
  __syncthreads();
  float highest = -INFINITY, total = 0.f;
  for (int t = 0; t < kTeams; t++) highest = fmaxf(highest, tops[t]);
  for (int t = 0; t < kTeams; t++) total += sums[t] * exp2f(tops[t] - highest);
  for (int j = threadIdx.x; j < headDim; j += blockDim.x) {
    float mixed = 0.f;
    for (int t = 0; t < kTeams; t++) mixed += mixtures[t][j] * exp2f(tops[t] - highest);
    if (gridDim.z == 1)
      store_stored<1>(y, (static_cast<long long>(row) * heads + head) * headDim + j, {mixed / total});
    else
      partial[j] = mixed;
  }
  if (gridDim.z > 1 && threadIdx.x == 0) {
    partial[D] = highest;
    partial[D + 1] = total;
  }
}

/// Joins the splits of a head of a row; grid rows × heads.
template <int D>
__device__ inline void join_splits(const float* partials, Stored y, int heads, int headDim, int splits) {
  long long place = static_cast<long long>(blockIdx.x) * heads + blockIdx.y;
  const float* parts = partials + place * splits * (D + 2);
  float highest = -INFINITY, total = 0.f;
  for (int s = 0; s < splits; s++)
    if (parts[s * (D + 2) + D + 1] > 0.f) highest = fmaxf(highest, parts[s * (D + 2) + D]);
  for (int j = threadIdx.x; j < headDim; j += blockDim.x) {
    float mixed = 0.f;
    total = 0.f;
    for (int s = 0; s < splits; s++) {
      const float* part = parts + s * (D + 2);
      if (part[D + 1] == 0.f) continue;
      float factor = exp2f(part[D] - highest);
      total += part[D + 1] * factor;
      mixed += part[j] * factor;
    }
    store_stored<1>(y, place * headDim + j, {mixed / total});
  }
}

#define CACHE_WRITE(T)                                                                                          \
  extern "C" __global__ void fused_decode_write_##T(Stored qkv, const int* slots, const int* positions, T* keys, \
                                                    T* values, int rows, int heads, int kvHeads, int headDim,    \
                                                    int length, float theta) {                                   \
    write_to_cache(qkv, slots, positions, keys, values, rows, heads, kvHeads, headDim, length, theta);           \
  }
CACHE_WRITE(float)
CACHE_WRITE(bf16)

#define CACHE_ATTENTION(D, V, T)                                                                                   \
  extern "C" __global__ void fused_decode_attention_##D##_##V##_##T(                                               \
      Stored qkv, const int* slots, const int* positions, const T* keys, const T* values, Stored y,                \
      float* partials, int heads, int kvHeads, int headDim, int length, int splitSize, float scale) {              \
    attend_to_cache<D, V>(qkv, slots, positions, keys, values, y, partials, heads, kvHeads, headDim, length,       \
                          splitSize, scale);                                                                       \
  }
#define CACHE_ATTENTIONS(D)                                                                                       \
  CACHE_ATTENTION(D, 1, float)                                                                                    \
  CACHE_ATTENTION(D, 4, float)                                                                                    \
  CACHE_ATTENTION(D, 1, bf16)                                                                                     \
  CACHE_ATTENTION(D, 4, bf16)                                                                                     \
  extern "C" __global__ void fused_decode_join_##D(const float* partials, Stored y, int heads, int headDim,       \
                                                   int splits) {                                                  \
    join_splits<D>(partials, y, heads, headDim, splits);                                                          \
  }
CACHE_ATTENTIONS(32)
CACHE_ATTENTIONS(64)
CACHE_ATTENTIONS(128)
CACHE_ATTENTIONS(256)
