#include "kernels.inc"

constexpr rlhf::Kernels rlhf::kAvx2Kernels = kernel_table("avx2");
