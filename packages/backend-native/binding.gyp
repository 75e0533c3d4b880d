{
  "variables": { "openssl_fips": "" },
  "target_defaults": {
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": [
      "-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
      "-Wall", "-Wextra"
    ],
    "defines": ["NAPI_VERSION=8"],
    "xcode_settings": {
      "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
      "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
      "MACOSX_DEPLOYMENT_TARGET": "11.0",
      "OTHER_CPLUSPLUSFLAGS": ["-O3", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
    }
  },
  "targets": [
    {
      "target_name": "native",
      "sources": [
        "src/addon.cc", "src/call.cc", "src/thread_pool.cc",
        "src/bindings_plain.cc", "src/bindings_layout.cc", "src/bindings_fused.cc", "src/bindings_decode.cc"
      ],
      "dependencies": ["portable"],
      "conditions": [
        ["target_arch=='x64'", { "dependencies": ["avx2", "avx512"] }],
        ["OS=='linux'", { "libraries": ["-lpthread", "-ldl"] }]
      ]
    },
    { "target_name": "portable", "type": "static_library", "sources": ["src/isa_portable.cc"] }
  ],
  "conditions": [
    ["target_arch=='x64'", {
      "targets": [
        {
          "target_name": "avx2",
          "type": "static_library",
          "sources": ["src/isa_avx2.cc"],
          "cflags_cc": ["-mavx2", "-mfma"],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["-mavx2", "-mfma"] }
        },
        {
          "target_name": "avx512",
          "type": "static_library",
          "sources": ["src/isa_avx512.cc"],
          "cflags_cc": [
            "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mprefer-vector-width=512",
            # GCC 12 warns about its own AVX-512 header.
            "-Wno-uninitialized", "-Wno-maybe-uninitialized"
          ],
          "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma"] }
        }
      ]
    }]
  ]
}
