// Vectors of numbers in memory, and numbers of which it shows at run time whether they lie as float32 or as bf16.

/// V consecutive floats in one memory transaction; V is 4 where rows are a multiple of 16 bytes, 1 elsewhere.
template <int V>
struct alignas(4 * V) Floats {
  float at[V];
};
template <int V>
__device__ inline Floats<V> load_floats(const float* from) {
  return *reinterpret_cast<const Floats<V>*>(from);
}
template <int V>
__device__ inline void store_floats(float* to, const Floats<V>& values) {
  *reinterpret_cast<Floats<V>*>(to) = values;
}

/// Two numbers rounded to bf16, the first in the low half.
__device__ inline unsigned pack_bf16(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  unsigned packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#else
  return to_bf16(low) | static_cast<unsigned>(to_bf16(high)) << 16;
#endif
}

/// The same of numbers in bf16.
template <int V>
__device__ inline Floats<V> load_rounded(const bf16* from) {
  Floats<V> values;
  if (V == 1) {
    values.at[0] = from_bf16(*from);
  } else {
    uint2 words = *reinterpret_cast<const uint2*>(from);
    values.at[0] = from_bf16(words.x & 0xffff);
    values.at[1 % V] = from_bf16(words.x >> 16);
    values.at[2 % V] = from_bf16(words.y & 0xffff);
    values.at[3 % V] = from_bf16(words.y >> 16);
  }
  return values;
}
template <int V>
__device__ inline void store_rounded(bf16* to, const Floats<V>& values) {
  if (V == 1)
    *to = to_bf16(values.at[0]);
  else
    *reinterpret_cast<uint2*>(to) =
        make_uint2(pack_bf16(values.at[0], values.at[1 % V]), pack_bf16(values.at[2 % V], values.at[3 % V]));
}

/// The address of float32 numbers, or of bf16 ones where its lowest bit is set; 0: there are none. The branch costs
/// nothing next to the memory that it reads, and spares a kernel for every combination.
struct Stored {
  unsigned long long tagged;
  __device__ explicit operator bool() const { return tagged != 0; }
  __device__ bool rounded() const { return tagged & 1; }
  __device__ float* exact() const { return reinterpret_cast<float*>(tagged); }
  /// By arithmetic on pointers: through integers the compiler would lose that it is global memory.
  __device__ bf16* in_bf16() const { return reinterpret_cast<bf16*>(reinterpret_cast<char*>(tagged) - 1); }
};
template <int V>
__device__ inline Floats<V> load_stored(Stored from, long long i) {
  return from.rounded() ? load_rounded<V>(from.in_bf16() + i) : load_floats<V>(from.exact() + i);
}
template <int V>
__device__ inline void store_stored(Stored to, long long i, const Floats<V>& values) {
  if (to.rounded())
    store_rounded<V>(to.in_bf16() + i, values);
  else
    store_floats<V>(to.exact() + i, values);
}
