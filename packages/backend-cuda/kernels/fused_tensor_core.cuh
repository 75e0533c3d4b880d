// Tiles in shared memory and products of them on tensor cores, a warp at a time: of bf16, and of float32 that is rounded to
// tf32. Of a 16 × 8 result a lane holds the columns 2t and 2t + 1 of the rows g and g + 8, with g = lane / 4 and
// t = lane % 4. What PTX does on a GPU of compute capability 8.0 is spelled out behind it for those that are older or
// emulated.

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define HAS_TENSOR_CORES
#endif

/// Elements from one row of a tile [·, D] to the next: rows that are read at once touch different banks.
template <class E, int D>
constexpr int kTileStride = D + 16 / static_cast<int>(sizeof(E));

/// Columns of left factors that one product takes.
template <class E>
constexpr int kStep = 32 / static_cast<int>(sizeof(E));

#ifdef HAS_TENSOR_CORES
__device__ inline unsigned shared_address(const void* pointer) {
  unsigned long long address;
  asm("cvta.to.shared.u64 %0, %1;" : "=l"(address) : "l"(pointer));
  return static_cast<unsigned>(address);
}
#endif

/// Begins to copy 16 bytes into shared memory, or zeros. The bytes are there after `wait_for_copies` and a barrier.
__device__ inline void begin_copy(void* to, const void* from, bool inside) {
#ifdef HAS_TENSOR_CORES
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(inside ? 16 : 0)
               : "memory");
#else
  *reinterpret_cast<uint4*>(to) = inside ? *reinterpret_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
#endif
}
/// What was begun since the last of these is one group.
__device__ inline void end_copies() {
#ifdef HAS_TENSOR_CORES
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/// Waits for all groups of this thread but the last.
__device__ inline void wait_for_copies() {
#ifdef HAS_TENSOR_CORES
  asm volatile("cp.async.wait_group 1;" ::: "memory");
#endif
}

/// Begins to copy rows [first, first + R) of a head into a tile, zeros past the end of the sequence and past headDim.
template <int D, int R, class E>
__device__ inline void begin_tile(E* tile, const E* head, long long stride, int first, int time, int headDim) {
  constexpr int kPiece = 16 / sizeof(E);
  if (headDim % kPiece == 0) {
    for (int i = threadIdx.x; i < R * D / kPiece; i += blockDim.x) {
      int row = i / (D / kPiece), column = i % (D / kPiece) * kPiece;
      bool inside = first + row < time && column < headDim;
      begin_copy(tile + row * kTileStride<E, D> + column, inside ? head + (first + row) * stride + column : head,
                 inside);
    }
    return;
  }
  for (int i = threadIdx.x; i < R * D; i += blockDim.x) {
    int row = i / D, column = i % D;
    bool inside = first + row < time && column < headDim;
    tile[row * kTileStride<E, D> + column] = inside ? head[(first + row) * stride + column] : E(0);
  }
}

#include "fused_tensor_core_bf16.cuh"
#include "fused_tensor_core_tf32.cuh"
