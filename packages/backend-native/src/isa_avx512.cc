#include "kernels.inc"

RLHF_KERNEL_TABLE(kAvx512Kernels, "avx512")
