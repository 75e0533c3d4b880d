#include "fused_attention_tensor_core.cuh"

ATTENTION(fused_attention_bf16_64, bf16, 64, 64, 2)
ATTENTION(fused_attention_bf16_128, bf16, 128, 64, 1)
