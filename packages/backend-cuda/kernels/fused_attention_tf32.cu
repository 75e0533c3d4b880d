#include "fused_attention_tensor_core.cuh"

ATTENTION(fused_attention_tf32_64, float, 64, 64, 1)
