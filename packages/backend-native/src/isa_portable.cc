#include "kernels.inc"

RLHF_KERNEL_TABLE(kPortableKernels, "portable")
