#include "kernels.inc"

RLHF_KERNEL_TABLE(kAvx2Kernels, "avx2")
