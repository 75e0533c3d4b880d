#include "kernels.inc"

constexpr rlhf::Kernels rlhf::kPortableKernels = kernel_table("portable");
