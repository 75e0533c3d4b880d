// Rotary positions and gated units: one pass over memory each.
#include "fused_common.cuh"

/// Turns elements i and i + headDim/2 of every query and key head by position · theta^(−2i/headDim); values are
/// copied. A thread computes one angle and turns the pair of up to eight heads with it. The frequency is rounded from
/// double, as on the other backends: at far positions its last bit shows.
extern "C" __global__ void fused_rope(Stored qkv, const int* positions, Stored rotated, int rows, int heads,
                                      int kvHeads, int headDim, float theta, float direction) {
  int half = headDim / 2, index = blockIdx.x * blockDim.x + threadIdx.x, row = index / half, i = index % half;
  if (row >= rows) return;
  int parts = heads + 2 * kvHeads, first = blockIdx.y * 8, last = min(parts, first + 8);
  float sine, cosine;
  sincosf(static_cast<float>(positions[row]) * static_cast<float>(pow(static_cast<double>(theta), -2.0 * i / headDim)), &sine, &cosine);
  sine *= direction;
  for (int part = first; part < last; part++) {
    long long place = (static_cast<long long>(row) * parts + part) * headDim + i;
    float a = load_stored<1>(qkv, place).at[0], b = load_stored<1>(qkv, place + half).at[0];
    bool turns = part < heads + kvHeads;
    store_stored<1>(rotated, place, {turns ? a * cosine - b * sine : a});
    store_stored<1>(rotated, place + half, {turns ? b * cosine + a * sine : b});
  }
}

__device__ inline float gate_sigmoid(float z) { return 1.f / (1.f + expf(-z)); }

/// y = silu(x[:, :f]) · x[:, f:].
template <int V>
__device__ inline void swiglu_forward(Stored x, Stored y, int size, int width) {
  unsigned i = (blockIdx.x * blockDim.x + threadIdx.x) * V;
  if (i >= size) return;
  long long place = static_cast<long long>(i / width) * 2 * width + i % width;
  Floats<V> gate = load_stored<V>(x, place), up = load_stored<V>(x, place + width);
  for (int k = 0; k < V; k++) gate.at[k] = gate.at[k] * gate_sigmoid(gate.at[k]) * up.at[k];
  store_stored<V>(y, i, gate);
}
template <int V>
__device__ inline void swiglu_backward(Stored dy, Stored x, Stored dx, int size, int width) {
  unsigned i = (blockIdx.x * blockDim.x + threadIdx.x) * V;
  if (i >= size) return;
  long long place = static_cast<long long>(i / width) * 2 * width + i % width;
  Floats<V> gate = load_stored<V>(x, place), up = load_stored<V>(x, place + width), d = load_stored<V>(dy, i);
  for (int k = 0; k < V; k++) {
    float z = gate.at[k], s = gate_sigmoid(z);
    gate.at[k] = d.at[k] * up.at[k] * s * (1.f + z * (1.f - s));
    up.at[k] = d.at[k] * z * s;
  }
  store_stored<V>(dx, place, gate);
  store_stored<V>(dx, place + width, up);
}

#define SWIGLU_KERNELS(V)                                                                         \
  extern "C" __global__ void fused_swiglu_##V(Stored x, Stored y, int size, int width) {          \
    swiglu_forward<V>(x, y, size, width);                                                         \
  }                                                                                               \
  extern "C" __global__ void fused_swiglu_grad_##V(Stored dy, Stored x, Stored dx, int size, int width) { \
    swiglu_backward<V>(dy, x, dx, size, width);                                                   \
  }
SWIGLU_KERNELS(1)
SWIGLU_KERNELS(4)
