#include "kernels.inc"

constexpr rlhf::Kernels rlhf::kAvx512Kernels = kernel_table("avx512");
