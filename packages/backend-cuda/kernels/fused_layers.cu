// Rotary positions and gated units: one pass over memory each.
#include "fused_common.cuh"

/// Turns elements i and i + headDim/2 of every query and key head by position · theta^(−2i/headDim); values are
/// copied. A thread computes one angle and turns the pair of up to eight heads with it. The frequency is rounded from
/// double, as on the other backends: at far positions its last bit shows.
extern "C" __global__ void fused_rope(const float* qkv, const int* positions, float* rotated, int rows, int heads,
                                int kvHeads, int headDim, float theta, float direction) {
  int half = headDim / 2, index = blockIdx.x * blockDim.x + threadIdx.x, row = index / half, i = index % half;
  if (row >= rows) return;
  int parts = heads + 2 * kvHeads, first = blockIdx.y * 8, last = min(parts, first + 8);
  float sine, cosine;
  sincosf(static_cast<float>(positions[row]) * static_cast<float>(pow(static_cast<double>(theta), -2.0 * i / headDim)), &sine, &cosine);
  sine *= direction;
  for (int part = first; part < last; part++) {
    long long place = (static_cast<long long>(row) * parts + part) * headDim + i;
    float a = qkv[place], b = qkv[place + half];
    bool turns = part < heads + kvHeads;
    rotated[place] = turns ? a * cosine - b * sine : a;
    rotated[place + half] = turns ? b * cosine + a * sine : b;
  }
}

__device__ inline float gate_sigmoid(float z) { return 1.f / (1.f + expf(-z)); }

/// y = silu(x[:, :f]) · x[:, f:], in bf16 too where `rounded` is given.
template <int V>
__device__ inline void swiglu_forward(const float* x, float* y, bf16* rounded, int size, int width) {
  unsigned i = (blockIdx.x * blockDim.x + threadIdx.x) * V;
  if (i >= size) return;
  long long place = static_cast<long long>(i / width) * 2 * width + i % width;
  Floats<V> gate = load_floats<V>(x + place), up = load_floats<V>(x + place + width);
  for (int k = 0; k < V; k++) gate.at[k] = gate.at[k] * gate_sigmoid(gate.at[k]) * up.at[k];
  store_floats<V>(y + i, gate);
  if (rounded) store_rounded<V>(rounded + i, gate);
}
template <int V>
__device__ inline void swiglu_backward(const float* dy, const float* x, float* dx, bf16* rounded, int size,
                                       int width) {
  unsigned i = (blockIdx.x * blockDim.x + threadIdx.x) * V;
  if (i >= size) return;
  long long place = static_cast<long long>(i / width) * 2 * width + i % width;
  Floats<V> gate = load_floats<V>(x + place), up = load_floats<V>(x + place + width), d = load_floats<V>(dy + i);
  for (int k = 0; k < V; k++) {
    float z = gate.at[k], s = gate_sigmoid(z);
    gate.at[k] = d.at[k] * up.at[k] * s * (1.f + z * (1.f - s));
    up.at[k] = d.at[k] * z * s;
  }
  store_floats<V>(dx + place, gate);
  store_floats<V>(dx + place + width, up);
  if (!rounded) return;
  store_rounded<V>(rounded + place, gate);
  store_rounded<V>(rounded + place + width, up);
}

#define SWIGLU_KERNELS(V)                                                                                      \
  extern "C" __global__ void fused_swiglu_##V(const float* x, float* y, bf16* rounded, int size, int width) {  \
    swiglu_forward<V>(x, y, rounded, size, width);                                                             \
  }                                                                                                            \
  extern "C" __global__ void fused_swiglu_grad_##V(const float* dy, const float* x, float* dx, bf16* rounded,  \
                                                   int size, int width) {                                      \
    swiglu_backward<V>(dy, x, dx, rounded, size, width);                                                       \
  }
SWIGLU_KERNELS(1)
SWIGLU_KERNELS(4)
